# SPDX-License-Identifier: Apache-2.0
"""Number Token Loss in an Equinox model: a number from 0 to 99, one token each, predicted from eight measurements.

Five hundred examples are five for each token: too few for cross entropy, which learns every token by itself. NTL tells
the model that 41 is nearly 42. Which form is best depends on how the number is read off. The likeliest token and a
sampled one are nearest with NTL-WAS, which pulls all mass to the truth; the mean is nearest with NTL-MAE, which sees
the mean alone and lets the mass spread around it.

    python examples/equinox_model.py
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ntl_jax.losses import number_token_loss, number_token_mae, number_token_wasserstein
from ntl_jax.numerals import NumberTable

Measurements = Float[Array, "N 8"]
Labels = Int[Array, "N"]
NumberLoss = Callable[[Array, Array, Array], Array]

VOCAB = {"?": 0} | {str(number): 1 + number for number in range(100)}
TABLE = NumberTable.from_vocab(VOCAB, kind="numbers")
OPTIMIZER = optax.adam(3e-3)
LOSSES = {
    "cross entropy": (number_token_wasserstein, 0.0),
    "+ 0.3 NTL-WAS": (number_token_wasserstein, 0.3),
    "+ 0.3 NTL-MAE": (number_token_mae, 0.3),
}


def measure(key: PRNGKeyArray, num_examples: int = 500) -> tuple[Measurements, Labels]:
    """Measurements [N, 8] and the token ids [N] of the numbers that they determine, up to noise."""
    x_key, noise_key = jax.random.split(key)
    x, noise = jax.random.normal(x_key, (num_examples, 8)), jax.random.normal(noise_key, (num_examples,))
    numbers = jnp.round(50 + 25 * jnp.sin(x[:, 0] + x[:, 1]) + 10 * x[:, 2] + 2 * noise)
    return x, TABLE.ids[jnp.clip(numbers, 0, 99).astype(int)]


@eqx.filter_jit
def train_step(
    model: eqx.nn.MLP,
    state: optax.OptState,
    x: Measurements,
    labels: Labels,
    loss: NumberLoss,
    ntl_weight: float,
) -> tuple[eqx.nn.MLP, optax.OptState]:
    def loss_fn(model: eqx.nn.MLP) -> Float[Array, ""]:
        logits = jax.vmap(model)(x)
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return jnp.mean(cross_entropy + ntl_weight * number_token_loss(logits, labels, TABLE, loss=loss))

    updates, state = OPTIMIZER.update(eqx.filter_grad(loss_fn)(model), state)
    return eqx.apply_updates(model, updates), state


def train(x: Measurements, labels: Labels, loss: NumberLoss, ntl_weight: float, num_steps: int = 150) -> eqx.nn.MLP:
    model = eqx.nn.MLP(x.shape[1], len(VOCAB), width_size=64, depth=2, key=jax.random.key(0))
    state = OPTIMIZER.init(eqx.filter(model, eqx.is_array))
    for _ in range(num_steps):
        model, state = train_step(model, state, x, labels, loss, ntl_weight)
    return model


def evaluate(model: eqx.nn.MLP, x: Measurements, labels: Labels) -> list[float]:
    """How far from the truth the likeliest number, a sampled one and the mean are."""
    logits, truth = jax.vmap(model)(x)[:, TABLE.ids], TABLE.token_values[labels]
    likeliest = jnp.abs(TABLE.values[jnp.argmax(logits, axis=-1)] - truth)
    sampled = number_token_wasserstein(logits, truth, TABLE.values)  # NTL-WAS is the expected distance
    mean = number_token_mae(logits, truth, TABLE.values)
    return [float(jnp.mean(error)) for error in (likeliest, sampled, mean)]


def main() -> dict[str, list[float]]:
    train_set, held_out = measure(jax.random.key(1)), measure(jax.random.key(2))
    results = {name: evaluate(train(*train_set, *setting), *held_out) for name, setting in LOSSES.items()}
    print("held-out numbers   likeliest off by   sampled off by   mean off by")
    for name, (likeliest, sampled, mean) in results.items():
        print(f"{name:17}   {likeliest:16.2f}   {sampled:14.2f}   {mean:11.2f}")
    return results


if __name__ == "__main__":
    main()
