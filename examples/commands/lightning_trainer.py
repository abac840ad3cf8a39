"""Lightning's Trainer with a small network of random weights.

    batchlab profile --metric val_loss --learning-rate 0.05 -- \
        python examples/commands/lightning_trainer.py --batch-size {batch_size} \
        --lr {learning_rate}
    batchlab advise --metric val_loss --learning-rate 0.05 --target val_loss=0.25 --budget 5m -- \
        python examples/commands/lightning_trainer.py \
        --batch-size {batch_size} --lr {learning_rate} --seed {seed}

Lightning's bar is read. `prog_bar=True` puts the metric there; with rich installed, Lightning's own
bar is drawn on a terminal only, so that the bar of tqdm is asked for.
"""

import argparse

import lightning
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import TQDMProgressBar
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_data(n_examples, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n_examples, 10, generator=generator)
    return TensorDataset(x, (x.square().sum(dim=1) < 9.34).long())  # half of the points


class Classifier(lightning.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 2))

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1]), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()
    lightning.seed_everything(args.seed)
    trainer = lightning.Trainer(max_epochs=args.epochs, callbacks=TQDMProgressBar(), logger=False)
    train = DataLoader(make_data(4000, seed=1), batch_size=args.batch_size, shuffle=True)
    trainer.fit(Classifier(args.lr), train, DataLoader(make_data(1000, seed=2), batch_size=1000))


if __name__ == "__main__":
    main()
