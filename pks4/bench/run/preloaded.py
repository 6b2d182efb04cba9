"""What a process that is to be forked imports: the libraries; nothing may run here.

Threads do not survive a fork, and operators start them.
"""

import timm  # noqa: F401
import torch  # noqa: F401

from pks4.bench.run import worker  # noqa: F401
from pks4.method import module, video  # noqa: F401
from pks4.simulate import attention_kernels, count_macs, fake_device  # noqa: F401
