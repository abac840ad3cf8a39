"""Errors, whose messages say what was given, what is possible and what to do.

Every error has one string as its only argument, so that a child process can send the error.
"""

from __future__ import annotations


class BatchlabError(Exception):
    """The base of batchlab's errors; the command line prints the message's first line."""


class UsageError(BatchlabError, ValueError):
    """A wrong request, such as an impossible value; the command line exits with code 2."""


class BatchSizeError(UsageError):
    """A batch size (or micro-batch size) that cannot be used with this training set."""


class WorkloadError(BatchlabError):
    """A workload that cannot be found, loaded or trained."""


class EditedError(WorkloadError):
    """A workload whose files changed after the workload was loaded."""


class StoreError(BatchlabError):
    """A store that cannot be opened, read or written."""


class NoStoreError(StoreError):
    """A store that is to be read and does not exist."""


class BudgetError(BatchlabError):
    """A budget that is too small for the request."""


class ClusterError(BatchlabError):
    """A cluster that cannot be reached, or that cannot train the requested trials."""


class TrialError(BatchlabError):
    """A trial that could not start (a trial that fails later becomes a record, not an error)."""


class ProgressError(BatchlabError):
    """Unreadable progress of a training: no metric, or a counter that decreases."""


class OtherBatchSizeError(ProgressError):
    """A training whose progress shows a batch size that differs from the requested batch size."""
