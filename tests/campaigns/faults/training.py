"""Faults in training: crops, order, optimizer, loop."""

from __future__ import annotations

from campaigns.fault import Fault

FAULTS = [
    Fault(
        "training.loop._Loop.step",
        "the same dropout in every step",
        "_mix_seed(settings.seed, step, part, runtime.rank)",
        "_mix_seed(settings.seed, 0, part, runtime.rank)",
        ("training/test_loop.py::test_every_batch_has_a_dropout_of_its_own",),
    ),
    Fault(
        "training.loop._Loop.step",
        "accumulated gradients are summed",
        "self.scaler.scale(loss / settings.accumulate)",
        "self.scaler.scale(loss)",
        ("training/test_loop.py::test_accumulated_gradients_are_the_mean_over_the_batches",),
    ),
    Fault(
        "training.loop._Loop.step",
        "gradients are clipped before they are unscaled",
        "self.scaler.unscale_(self.optimizer)",
        "pass",
        ("training/test_half_precision.py",),
    ),
    Fault(
        "training.loop._combine",
        "each rank divides by its own count",
        "runtime.sum_over_ranks(torch.stack([terms[k].count.detach() for k in names]))",
        "torch.stack([terms[k].count.detach() for k in names])",
        ("training/test_loop.py::test_two_processes_equal_one_with_the_same_global_batch",),
    ),
    Fault(
        "training.loop.fit",
        "the moving average does not become the model",
        "task.module.load_state_dict(average.module.state_dict())",
        "pass",
        ("training/test_loop.py::test_the_moving_average_becomes_the_model",),
    ),
    Fault(
        "training.loop.fit",
        "a resumed training begins with the first batch",
        "task.batches(first * settings.accumulate,",
        "task.batches(0,",
        ("training/test_loop.py::test_resumed_training_equals_an_uninterrupted_one",),
    ),
    Fault(
        "training.augmentation._place",
        "the last place of a crop is never drawn",
        "rng.integers(length - side + 1)",
        "rng.integers(max(1, length - side))",
        ("training/test_dataset.py::test_both_ends_of_every_range_are_drawn",),
    ),
    Fault(
        "training.augmentation.CropWindow.draw",
        "no photo is flipped",
        "rng.random() < 0.5",
        "rng.random() < 0.0",
        ("training/test_dataset.py::test_half_of_the_photos_are_flipped",),
    ),
    Fault(
        "training.dataset.TrainingDataset._crop",
        "the largest long side is never drawn",
        "settings.long_side[1] + 1",
        "max(settings.long_side[0] + 1, settings.long_side[1])",
        ("training/test_dataset.py::test_both_ends_of_every_range_are_drawn",),
    ),
    Fault(
        "training.dataset.TrainingDataset._crop",
        "padding is normalized black",
        "if settings.black_padding:",
        "if not settings.black_padding:",
        ("training/test_dataset.py::test_padding_is_invalid_and_0",),
    ),
    Fault(
        "training.dataset.TrainingDataset.cropped",
        "every epoch has the same crops",
        "(self.seed, epoch, index)",
        "(self.seed, 0, index)",
        ("training/test_dataset.py",),
    ),
    Fault(
        "training.sampler.StepBatchSampler.__iter__",
        "every epoch has the same order",
        "(self.seed, epoch)",
        "(self.seed, 0)",
        ("training/test_dataset.py::test_epochs_have_different_orders",),
    ),
    Fault(
        "training.sampler.StepBatchSampler.__iter__",
        "every rank has the same photos",
        "[self.rank :: self.world_size]",
        "[: len(order) // self.world_size]",
        ("training/test_dataset.py::test_order",),
    ),
    Fault(
        "training.optim.parameter_groups",
        "biases have a weight decay",
        "0.0 if bias else weight_decay",
        "weight_decay",
        ("training/test_optim.py",),
    ),
    Fault(
        "training.optim.parameter_groups",
        "new layers learn as slowly as old ones",
        "lr * factor * (bias_lr if bias else 1.0)",
        "lr * (bias_lr if bias else 1.0)",
        ("training/test_optim.py",),
    ),
    Fault(
        "training.optim.schedule",
        "the decay is linear",
        "math.pow(1 - share, power)",
        "1 - share",
        ("training/test_optim.py",),
    ),
    Fault(
        "training.optim.train_mode",
        "frozen batch norms update their statistics",
        "module.eval()",
        "module.train()",
        ("training/test_optim.py",),
    ),
    Fault(
        "training.checkpoint.restore_checkpoint",
        "the optimizer starts again",
        'optimizer.load_state_dict(state["optimizer"])',
        "pass",
        ("training/test_loop.py::test_resumed_training_equals_an_uninterrupted_one",),
    ),
]
