"""What a process that is to be forked imports: the libraries; nothing may run here.

Threads do not survive a fork, and operators start them.
"""

import timm  # noqa: F401
import torch  # noqa: F401

from pks4 import module, video  # noqa: F401
from pks4.bench import counters, fakes, kernels, worker  # noqa: F401
