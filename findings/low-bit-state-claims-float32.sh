#!/usr/bin/env bash
# torchao 0.18.0: a state of 8 or 4 bits tells the bytes of float32, by each of torch's three ways to ask.
#
# AdamW8bit, AdamW4bit and AdamWFp8 keep the moments of a large tensor as codes with scales, in a tensor subclass that
# claims dtype float32. Its numel() * element_size(), its nbytes and its untyped_storage().nbytes() all give the memory
# of AdamW's state, although the storage of the subclass has no content. A table of optimizers' memory made so shows no
# saving at all. __tensor_flatten__ names the tensors that are there; their bytes add up to what torch.save writes.
# Tensors of fewer than 4096 elements are plain float32, so that a small network saves less or nothing.
#
# Seen with torchao 0.18.0, torch 2.13.0, Python 3.11, for one moment of a weight of 128 by 128: told 65,536 bytes each;
# there are 17,664 (8bit), 8,768 (4bit) and 16,640 (Fp8).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/pip" install --quiet torchao==0.18.0
"$folder/env/bin/python" - <<'PY' 2>"$folder/warnings"
import io

import torch
import torchao
from torchao.optim import AdamW4bit, AdamW8bit, AdamWFp8

there = {AdamW8bit: 17_664, AdamW4bit: 8_768, AdamWFp8: 16_640}
for cls, expected in there.items():
    layer = torch.nn.Linear(128, 128)
    optimizer = cls(layer.parameters())
    layer(torch.ones(4, 128)).sum().backward()
    optimizer.step()
    moment = optimizer.state[layer.weight]["exp_avg"]
    told = {moment.numel() * moment.element_size(), moment.nbytes, moment.untyped_storage().nbytes()}
    names, _ = moment.__tensor_flatten__()
    made_of = sum(getattr(moment, name).nbytes for name in names)
    file = io.BytesIO()
    torch.save(moment, file)
    size = len(file.getvalue())
    print(f"{cls.__name__}: {moment.dtype}, told {told}, made of {names}: {made_of}, saved in {size}")
    assert moment.dtype == torch.float32
    assert told == {4 * 128 * 128}, "one of the ways tells what is there"
    assert made_of == expected
    assert made_of < size < made_of + 4_000
    small = optimizer.state[layer.bias]["exp_avg"]
    assert type(small) is torch.Tensor and small.nbytes == 4 * 128
print(f"torchao {torchao.__version__}, torch {torch.__version__}")
PY
