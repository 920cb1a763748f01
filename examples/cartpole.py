"""A pole kept upright on a cart by REINFORCE, a policy gradient with Monte Carlo returns.

The cart is pushed left or right fifty times a second. It has failed when the pole leans more than
12 degrees or the cart leaves its track, and has done well after 200 steps. The net gives the
probability of either push; after each episode its gradient is that of -ln p(push), weighted by how
much better than usual things went from there on. The equations of motion are those of "Neuronlike
adaptive elements that can solve difficult learning control problems" by Barto, Sutton and Anderson.

Run it with `python examples/cartpole.py`; with `--torch` PyTorch learns the same beside it.
"""

import math
import random
import sys
import time

import numpy as np

import cmlp

STEPS = 200
EPISODES = 1000
TOGETHER = 5  # episodes for each step of learning
DISCOUNT = 0.99
HIDDEN = 32
RATE = 0.02


def push(state: tuple[float, ...], right: bool) -> tuple[float, ...]:
    """Position, speed, angle and its speed, a fiftieth of a second later."""
    x, dx, angle, turning = state
    sin, cos = math.sin(angle), math.cos(angle)
    pull = ((10.0 if right else -10.0) + 0.05 * turning**2 * sin) / 1.1
    turn = (9.8 * sin - cos * pull) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
    slide = pull - 0.05 * turn * cos / 1.1
    return x + 0.02 * dx, dx + 0.02 * slide, angle + 0.02 * turning, turning + 0.02 * turn


def failed(state: tuple[float, ...]) -> bool:
    return abs(state[0]) > 2.4 or abs(state[2]) > math.radians(12)


class Policy:
    """A net with two outputs, the logits of left and right."""

    def __init__(self, seed: int) -> None:
        self.net = cmlp.Sequential(
            cmlp.Dense(4, HIDDEN, activation="tanh"), cmlp.Dense(HIDDEN, 2), seed=seed
        )
        self.optimizer = cmlp.Adam(lr=RATE)
        self.row, self.out = np.empty((1, 4), np.float32), np.empty((1, 2), np.float32)

    def logits(self, state: tuple[float, ...]) -> tuple[float, float]:
        self.row[0] = state
        left, right = self.net.predict(self.row, out=self.out)[0].tolist()
        return left, right

    def learn(self, states: np.ndarray, pushes: np.ndarray, advantages: np.ndarray) -> None:
        """One step: the loss is the mean of -advantage ln p(push); by the logits p - 1(push)."""
        slope = cmlp.kernels.softmax(self.net.forward(states))
        slope[np.arange(len(pushes)), pushes] -= 1.0
        slope *= advantages[:, np.newaxis] / len(pushes)
        self.net.backward(slope, need_dx=False)
        self.optimizer.step(self.net)


class TorchPolicy:
    """The same in PyTorch."""

    def __init__(self, seed: int) -> None:
        import torch

        self.torch = torch
        torch.manual_seed(seed)
        nn = torch.nn
        self.net = nn.Sequential(nn.Linear(4, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 2))
        self.optimizer = torch.optim.Adam(self.net.parameters(), RATE)

    def logits(self, state: tuple[float, ...]) -> tuple[float, float]:
        with self.torch.inference_mode():
            left, right = self.net(self.torch.tensor([state]))[0].tolist()
        return left, right

    def learn(self, states: np.ndarray, pushes: np.ndarray, advantages: np.ndarray) -> None:
        torch = self.torch
        logits = self.net(torch.from_numpy(states))
        losses = torch.nn.functional.cross_entropy(
            logits, torch.from_numpy(pushes), reduction="none"
        )
        self.optimizer.zero_grad()
        (losses * torch.from_numpy(advantages)).mean().backward()
        self.optimizer.step()


def episode(policy, rng: random.Random) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States, pushes and returns, until the pole falls or the time is over."""
    state = tuple(rng.uniform(-0.05, 0.05) for _ in range(4))
    states, pushes = [], []
    while len(states) < STEPS and not failed(state):
        left, right = policy.logits(state)
        choice = rng.random() < 1 / (1 + math.exp(left - right))
        states.append(state)
        pushes.append(choice)
        state = push(state, choice)
    # A reward of 1 for each step to come, discounted.
    returns = (1 - DISCOUNT ** np.arange(len(states), 0, -1)) / (1 - DISCOUNT)
    return np.array(states, np.float32), np.array(pushes, np.int64), returns


def train(policy, seed: int) -> tuple[list[int], float]:
    """Lengths of the episodes, until the last twenty are long; seconds."""
    rng, lengths, start = random.Random(seed), [], time.perf_counter()
    while len(lengths) < EPISODES and np.mean(lengths[-20:] or [0]) < 195:
        states, pushes, returns = zip(*(episode(policy, rng) for _ in range(TOGETHER)), strict=True)
        lengths += map(len, states)
        gained = np.concatenate(returns)
        advantages = ((gained - gained.mean()) / (gained.std() + 1e-6)).astype(np.float32)
        policy.learn(np.concatenate(states), np.concatenate(pushes), advantages)
    return lengths, time.perf_counter() - start


def report(name: str, policy, seed: int = 0) -> None:
    lengths, seconds = train(policy, seed)
    print(f"{name}: {np.mean(lengths[:20]):.0f} steps at first, {np.mean(lengths[-20:]):.0f} after")
    print(f"  {len(lengths)} episodes, {sum(lengths) / seconds:,.0f} steps per second")


if __name__ == "__main__":
    report("cmlp", Policy(seed=0))
    if "--torch" in sys.argv:
        report("PyTorch", TorchPolicy(seed=0))
