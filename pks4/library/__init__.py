"""The instruments for any model, as Python calls: `pks4.count_macs` and the other public names."""
