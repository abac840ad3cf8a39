"""Hugging Face's Trainer with a tiny BERT of random weights. Nothing is downloaded.

    batchlab profile --metric eval_loss --learning-rate 0.001 --batch-size 32 -- \
        python examples/commands/hugging_face.py \
        --per_device_train_batch_size {batch_size} --learning_rate {learning_rate} \
        --output_dir {output_dir}
    batchlab advise --metric eval_loss --learning-rate 0.001 --batch-size 32 \
        --target eval_loss=0.3 --budget 5m -- \
        python examples/commands/hugging_face.py \
        --per_device_train_batch_size {batch_size} --learning_rate {learning_rate} --seed {seed} \
        --output_dir {output_dir}

Nothing was added for batchlab: the lines that the Trainer prints are read. Token sequences are
made up; the label says whether more tokens of the upper half than of the lower half are in one.
"""

import torch
import transformers
from torch.utils.data import Dataset


class Sequences(Dataset):
    def __init__(self, n_examples, seed):
        generator = torch.Generator().manual_seed(seed)
        self.tokens = torch.randint(0, 40, (n_examples, 15), generator=generator)
        self.labels = ((self.tokens >= 20).sum(dim=1) > 7).long()

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, i):
        return {"input_ids": self.tokens[i], "labels": self.labels[i]}


def main():
    parser = transformers.HfArgumentParser(transformers.TrainingArguments)
    parser.set_defaults(num_train_epochs=12.0, eval_strategy="epoch", save_strategy="no")
    parser.set_defaults(lr_scheduler_type="constant", report_to="none")
    (args,) = parser.parse_args_into_dataclasses()
    transformers.set_seed(args.seed)
    config = transformers.BertConfig(
        vocab_size=40,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
        num_labels=2,
    )
    model = transformers.BertForSequenceClassification(config)
    train, validation = Sequences(2000, seed=1), Sequences(500, seed=2)
    transformers.Trainer(model, args, train_dataset=train, eval_dataset=validation).train()


if __name__ == "__main__":
    main()
