"""Child processes: start, listen, lock a device, end.

child.py         a child process, as its parent and as itself sees it
warm_start.py    the fork server of children that need not start cold
device_lock.py   locks that keep two timings off one device
"""
