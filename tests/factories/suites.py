"""What a run of the tests' small suite records, and a grid that meets its time limit."""

LATE = """
[[grids]]
name = "late"
scale = "tiny"
frames = [2]
contestants = ["ours"]
measures = ["time"]
time_limit_seconds = 0.2
"""
MEASURES = {
    "params": ["params_total", "params_trainable"],
    "macs": ["macs_forward", "macs_train", "macs_fvcore_plain"],
    "saved_bytes": ["saved_bytes"],
}
WHOLE = {
    (f"cost/{label}/t2", measure, metric)
    for label in ("floor", "ours")
    for measure, metrics in MEASURES.items()
    for metric in metrics
}
