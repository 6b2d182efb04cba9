"""A small suite, what a run of it records, and a grid that meets its time limit."""

SUITE = """
name = "{name}"
title = "Test"

[[contestants]]
label = "floor"
model = "frame_mean"
options = {{ width = 24, depth = 1, heads = 3 }}

[[contestants]]
label = "ours"
model = "pks4"
options = {{ width = 24, depth = 1, heads = 3, state = 2, radius = 1 }}

[[grids]]
name = "cost"
scale = "tiny"
frames = [2]
num_classes = 5
measures = ["params", "macs", "saved_bytes"]
{more}
"""
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


def only_last_grid(text):
    """A suite's text without its grids but the last."""
    return text[: text.index("[[grids]]")] + text[text.rindex("[[grids]]") :]
