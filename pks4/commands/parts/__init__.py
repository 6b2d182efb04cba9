"""What commands share: tables, progress bars, options of executors."""
