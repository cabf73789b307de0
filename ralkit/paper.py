"""The paper's own numbers, typed from its tables, to stand beside ours."""

TABLE_1 = [
    {"method": "MLE", "NLL": 7.55, "FID on oracle data": 7.49, "FID on real data": 15.63},
    {"method": "RL - Single Reward", "NLL": 7.07, "FID on oracle data": 5.17, "FID on real data": 14.28},
    {"method": "RL - Intermediate Reward", "NLL": 7.05, "FID on oracle data": 5.62, "FID on real data": 13.69},
]

# CelebA, 128x128; "reconstructed" is what the paper prints in parentheses: FID on reconstructed real images.
TABLE_3A = [
    {"run": "Partial-Gen. (Proposed)", "FID": 49.24, "FID on reconstructed": 16.54},
    {"run": "Full-Gen.", "FID": 51.91, "FID on reconstructed": 20.25},
    {"run": "RAL on Top", "FID": 54.82, "FID on reconstructed": 19.20},
    {"run": "RAL on Bottom", "FID": 55.02, "FID on reconstructed": 19.80},
]

TABLE_3B = [
    {"reward": "single", "D output": "8x8", "FID": 53.15, "FID on reconstructed": 18.28},
    {"reward": "single", "D output": "4x4", "FID": 49.24, "FID on reconstructed": 16.54},
    {"reward": "single", "D output": "2x2", "FID": 49.78, "FID on reconstructed": 17.68},
    {"reward": "intermediate", "D output": "8x8", "FID": 50.22, "FID on reconstructed": 18.65},
    {"reward": "intermediate", "D output": "4x4", "FID": 54.835, "FID on reconstructed": 19.47},
    {"reward": "intermediate", "D output": "2x2", "FID": 55.37, "FID on reconstructed": 20.99},
]

# Seconds to sample a batch of 16, on a single GPU.
S_TABLE_11 = [
    {"sampling": "Full Generation", "128x128, 16x16 + 32x32": 102, "256x256, 32x32 + 64x64": 170},
    {"sampling": "Partial Generation", "128x128, 16x16 + 32x32": 61, "256x256, 32x32 + 64x64": 123},
]
