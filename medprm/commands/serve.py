"""`serve`: a trained PRM behind an address, until it is asked to stop.

In: ServeConfig. Out: scores over HTTP. Requests under way are answered before it ends.
"""

import logging
import os
import socket
from pathlib import Path

import torch
import uvicorn
from fastapi import FastAPI
from transformers.utils import logging as transformers_logging

from medprm.clients.guard import Guard
from medprm.commands.scorers import load_scorer
from medprm.config import ServeConfig
from medprm.errors import InputError
from medprm.scoring.scorer import StepScorer
from medprm.serving.app import create_app
from medprm.serving.service import ScoringService

logger = logging.getLogger(__name__)

LEAST_TOKEN = 16  # characters


def run(config: ServeConfig) -> None:
    """Load, listen, say where, serve."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    transformers_logging.disable_progress_bar()
    token = read_token(config.serving.token_env)
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    if config.checkpoint is None:
        raise InputError("checkpoint is null; give checkpoint=FOLDER, such as outputs/cxr/checkpoint")
    scorer = load_scorer(config.checkpoint, config.scoring, config.tiles)
    assert isinstance(scorer, StepScorer), "ServeConfig refuses other protocols"
    listening = listen(config.serving.host, config.serving.port)
    root = config.serving.data_root
    guard = Guard(config.guard, None if root is None else Path(root))
    name = Path(config.checkpoint).resolve().parent.name if Path(config.checkpoint).is_dir() else config.checkpoint
    with ScoringService(scorer, config.serving, guard, name, scorer.prm.get("aggregation")) as service:
        app = create_app(service, token)
        logger.info("serving %s on http://%s:%d", config.checkpoint, config.serving.host, listening.getsockname()[1])
        http_server(app).run(sockets=[listening])


def http_server(app: FastAPI) -> uvicorn.Server:
    """uvicorn; the client's address is for the application to find, which knows whether a proxy is there."""
    return uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, proxy_headers=False)
    )


def read_token(name: str | None) -> str | None:
    """The token from the environment."""
    if name is None:
        return None
    token = os.environ.get(name, "")
    if len(token) < LEAST_TOKEN:
        raise InputError(
            f"serving.token_env={name}: the environment variable has {len(token)} characters; expected a token of at "
            f"least {LEAST_TOKEN}: export {name}=$(openssl rand -hex 32)"
        )
    return token


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound; InputError where the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError as error:
        raise InputError(
            f"serving.host={host} serving.port={port}: {error.strerror or error}; choose another port, or 0 for any"
        ) from None
    return found
