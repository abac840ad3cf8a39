"""As wide as the terminal, as the progress bar of many a script that trains on CIFAR-10."""

import os

width = int(os.popen("stty size").read().split()[1])
print("epoch 1 step 10 loss 0.5 acc 80.0".ljust(width))
