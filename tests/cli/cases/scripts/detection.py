"""Detection as in torchvision: losses in training, boxes in evaluation; any number of targets."""

import torch
import torch.nn.functional as F
from torch import nn

import batchlab


def pictures(n, seed):
    random = torch.Generator().manual_seed(seed)
    for _ in range(n):
        boxes = torch.rand(int(torch.randint(0, 4, (1,), generator=random)), 4, generator=random)
        yield torch.randn(3, 16, 16, generator=random), {"boxes": boxes}


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 16), nn.ReLU())
        self.box, self.objects = nn.Linear(16, 4), nn.Linear(16, 1)

    def forward(self, images, targets):
        seen = self.body(torch.stack(images))
        if not self.training:
            return [{"boxes": box} for box in self.box(seen)]
        n_boxes = torch.tensor([[float(len(each["boxes"]))] for each in targets]).to(seen)
        pairs = zip(self.box(seen), (each["boxes"].to(seen) for each in targets), strict=True)
        off = sum(F.l1_loss(box.expand_as(boxes), boxes, reduction="sum") for box, boxes in pairs)
        n = max(1.0, float(n_boxes.sum()))
        return {"objects": F.mse_loss(self.objects(seen), n_boxes), "box": off / n}


def workload(*, counted=False):
    return batchlab.Workload(
        name="detection", train=list(pictures(200, 0)), validation=list(pictures(50, 1)),
        model=Detector, loss=lambda model, batch: sum(model(*batch).values()),
        collate=lambda items: tuple(zip(*items, strict=True)), batch_size=8, learning_rate=0.01,
        weight=(lambda batch: len(batch[1])) if counted else None,
    )  # fmt: skip
