"""Experiments with communication between processes, by kind."""

from __future__ import annotations

from kintro.concepts import ipc_memory, ipc_pipes, ipc_queues, ipc_semaphores, ipc_signals, ipc_sockets

EXPERIMENTS = (
    *ipc_pipes.EXPERIMENTS,
    *ipc_queues.EXPERIMENTS,
    *ipc_memory.EXPERIMENTS,
    *ipc_signals.EXPERIMENTS,
    *ipc_semaphores.EXPERIMENTS,
    *ipc_sockets.EXPERIMENTS,
)
