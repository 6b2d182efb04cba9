"""Child processes: start, listen, lock a device, end."""
