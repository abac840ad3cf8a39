"""Names: what stands on a page and no language has words for."""

from __future__ import annotations

import re

# A user's own names, code, figures' letters, versions and identities: no language has words for
# them.
NAMES = re.compile(
    r"(made-up)?( \(made-up\)|-id)?|made up|points|a processor|batchlab (sweep made-up|advise)|cpu"
    r"|(, )?(accuracy|loss)|python|cores|torch|engine|plain|batchlab [\d.]+"
    r"|batchlab-\w+\.csv(\.gz)?|[0-9a-f]{16}|\d{4}-\d\d-\d\d \d\d:\d\d \w+|\(?[a-h]\)?"
    r"|batchlab sweep( --measure \w+)+"
)
