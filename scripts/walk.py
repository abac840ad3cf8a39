"""How far a workload is handed on from `batchlab.advise`.

python scripts/walk.py
"""

from __future__ import annotations

import sys
import tempfile
from inspect import unwrap
from pathlib import Path
from types import FrameType

import batchlab
from batchlab.app.advice_session import AdviceSession

_PACKAGE = str(Path(batchlab.__file__).parent)
# The workload by its name, as it is, and as what is made of it on the way.
_FORMS = {
    "Workload",
    "LoadedWorkload",
    "PackedWorkload",
    "WorkloadSubject",
    "WorkloadSummary",
    "Question",
}
_FILE = """
import batchlab
from torch import ones, optim
from torch.nn import Linear
from torch.nn.functional import mse_loss
def workload():
    return batchlab.Workload(
        name="walker", model=lambda: Linear(4, 1), train=(ones(100, 4), ones(100, 1)),
        loss=lambda model, batch: mse_loss(model(batch[0]), batch[1]),
        optimizer=lambda parameters, learning_rate: optim.SGD(parameters, lr=learning_rate),
        batch_size=10, learning_rate=0.1,
    )
"""


class _AtTheSession(BaseException):
    """The walk ends here; nothing is profiled or trained."""


def main() -> None:
    """Print the files on the way, and the most arguments that one function takes beside it."""
    beside: dict[str, int] = {}

    def look(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(_PACKAGE):
            return
        if code is AdviceSession.carried_out.__code__:
            raise _AtTheSession
        given = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        values = [frame.f_locals.get(name) for name in given if name != "self"]
        forms = [value for value in values if type(value).__name__ in _FORMS or value is reference]
        if forms or type(frame.f_locals.get("self")).__name__ in _FORMS:
            others = 0 if code is unwrap(batchlab.advise).__code__ else len(values) - len(forms)
            beside[code.co_filename] = max(beside.get(code.co_filename, 0), others)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "walker.py")
        file.write_text(_FILE)
        reference = f"{file}:workload"
        sys.setprofile(look)
        try:
            batchlab.advise(reference, store=Path(folder, "lab.db"))
        except _AtTheSession:
            pass
        finally:
            sys.setprofile(None)
    print(f"files that a workload passes from batchlab.advise to the session: {len(beside)}")
    print(f"most arguments beside it behind batchlab.advise: {max(beside.values())}")


if __name__ == "__main__":
    main()
