"""A client that adds a little to every parameter."""

from __future__ import annotations

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, _context: Context) -> Message:
    """No training, and an answer as long as the model."""
    arrays = ArrayRecord([array + np.float32(0.01) for array in message.content["arrays"].to_numpy_ndarrays()])
    metrics = MetricRecord({"num-examples": 100})
    return Message(content=RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
