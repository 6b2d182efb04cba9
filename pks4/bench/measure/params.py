"""Parameters: all of them, and those that are trained.

    params_total       every parameter of the contestant: backbone, temporal part, classifier
    params_trainable   those with `requires_grad`, as the contestant's options leave them; a frozen
                       backbone does not count

Both are numbers of values (unit "1") and exact. They are counted on meta tensors, so no weights are
made, and they do not depend on the seed. Rule: a parameter that several layers share counts once;
buffers, such as the statistics of a batch norm, are no parameters. The number of classes is the
grid's `num_classes`, so totals compare with a paper's only at the same number. `place` of the
evidence says where the temporal module stands, if the model says so. The detail of a module of
--module has its file, its class and whether it starts as the identity.
"""

from collections.abc import Iterator
from functools import partial

from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.records.record import Reading

METRICS = {  # name -> unit, direction
    "params_total": ("1", "less is better"),
    "params_trainable": ("1", "less is better"),
}


def measure(inputs: MeasureInput) -> Iterator[Reading]:
    """Count on meta tensors; a parameter used twice counts once."""
    model = inputs.build("meta")
    parameters = list(model.parameters())  # torch yields a shared one once
    trained = [p for p in parameters if p.requires_grad]

    evidence = {"how": "counted", "rule": "unique parameters", "device": "meta"}
    if hasattr(model, "place"):
        evidence["place"] = model.place
    facts = inputs.module_facts()
    detail = {"module": facts} if facts else {}
    reading = partial(Reading, unit="1", kind="exact", evidence=evidence, detail=detail)
    yield reading(metric="params_total", value=sum(p.numel() for p in parameters))
    yield reading(metric="params_trainable", value=sum(p.numel() for p in trained))
