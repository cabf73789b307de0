"""The paper's own numbers, typed from its tables, to stand beside ours."""

TABLE_1 = [
    {"method": "MLE", "NLL": 7.55, "FID on oracle data": 7.49, "FID on real data": 15.63},
    {"method": "RL - Single Reward", "NLL": 7.07, "FID on oracle data": 5.17, "FID on real data": 14.28},
    {"method": "RL - Intermediate Reward", "NLL": 7.05, "FID on oracle data": 5.62, "FID on real data": 13.69},
]
