"""Errors, whose messages say what was given, what is possible and what to do.

Every error has a single string as its argument, so that it can be sent from a child process.
"""

from __future__ import annotations


class BatchlabError(Exception):
    """The root of all errors raised on purpose; the command line prints its first line."""


class UsageError(BatchlabError, ValueError):
    """A request that is wrong in itself, so that the command line exits with 2."""


class ArgumentNameError(UsageError, TypeError):
    """An argument that the function does not have."""


class BatchSizeError(UsageError):
    """A batch size (or micro-batch size) that cannot be used with this training set."""


class WorkloadError(BatchlabError):
    """A workload that cannot be found, loaded or trained."""


class EditedError(WorkloadError):
    """A workload whose files are no longer what they were when it was loaded."""


class StoreError(BatchlabError):
    """A store that cannot be opened, read or written."""


class NoStoreError(StoreError):
    """A store that should exist and does not."""


class BudgetError(BatchlabError):
    """A budget too small for what was asked."""


class ClusterError(BatchlabError):
    """A cluster that cannot be reached, or that cannot train what was asked."""


class MissingLibraryError(BatchlabError, ImportError):
    """An optional library that was asked for and is not installed."""


class TrialError(BatchlabError):
    """A trial that could not be run at all (a trial that ended badly is a record, not this)."""


class ProfileError(BatchlabError):
    """A file that is no profile, or one that is damaged."""


class FitError(BatchlabError):
    """Points that a law cannot be fitted to: too few, not finite, not positive."""


class ProgressError(BatchlabError):
    """A training's progress that can't be read: no metric, or a counter that goes backward."""


class OtherBatchSizeError(ProgressError):
    """A training's progress that shows another batch size than the one it was given."""
