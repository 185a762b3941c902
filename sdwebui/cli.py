"""The command line. To add a command: a function `_run_<name>` and a row in `_COMMANDS`.

This is the only place that reads the environment, configures logging and prints.
"""

from __future__ import annotations

import argparse
import getpass
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sdwebui import __version__
from sdwebui.domain.errors import ConfigurationError, SdWebuiError
from sdwebui.domain.settings import Settings, add_arguments, load_settings, read_password_file, read_toml

logger = logging.getLogger(__name__)

EXIT_ERROR = 1
EXIT_CONFIGURATION = 78


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit status: 0, 1 for an error, 78 for a wrong configuration."""
    given = _parser().parse_args(argv)
    try:
        settings = _settings(given)
        _configure_logging(settings.log_level)
        status: int = given.run(given, settings)
    except ConfigurationError as error:
        print(f"sdwebui: {error.detail}", file=sys.stderr)
        return EXIT_CONFIGURATION
    except SdWebuiError as error:
        print(f"sdwebui: {error.detail}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return status


@dataclass(frozen=True, kw_only=True)
class _Command:
    """A row of the table of commands: name, help, its own arguments, what it does."""

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Settings], int]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sdwebui", description="A Stable Diffusion web UI server.")
    parser.add_argument("--version", action="version", version=f"sdwebui {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for row in _COMMANDS:
        sub = commands.add_parser(row.name, help=row.help, description=row.help, allow_abbrev=False)
        row.add_arguments(sub)
        _setting_arguments(sub)
        sub.set_defaults(run=row.run)
    return parser


def _setting_arguments(parser: argparse.ArgumentParser) -> None:
    """Every setting as an option; absent from the result when not given, so that any level may have it."""
    shown = "TOML file with settings; configs/sdwebui.toml shows every key."
    parser.add_argument("--config", type=Path, default=argparse.SUPPRESS, help=shown)
    add_arguments(parser)


def _settings(given: argparse.Namespace) -> Settings:
    """Defaults < file < environment < command line; relative folders are made absolute."""
    toml = read_toml(given.config) if "config" in given else {}
    settings = load_settings(toml=toml, environ=os.environ, arguments=vars(given))
    if settings.password_file and not settings.password:
        settings = replace(settings, password=read_password_file(Path(settings.password_file)))
    folders = ("data_dir", "models_dir", "extensions_dir")
    return replace(settings, **{name: getattr(settings, name).absolute() for name in folders})


def _configure_logging(level: str) -> None:
    logging.basicConfig(
        level=level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True
    )
    for noisy in ("httpx", "httpcore", "alembic", "uvicorn.access", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


# --------------------------------------------------------------------------------------------------------- serving


def _run_serve(_given: argparse.Namespace, settings: Settings) -> int:
    from sdwebui.serving import serve

    _prepare_environment(settings)
    return serve(settings, announce=lambda text: print(text, flush=True))


def _prepare_environment(settings: Settings) -> None:
    """What Gradio and the model libraries must and must not find; before either is imported."""
    from sdwebui.ui.environment import variables_to_clear, variables_to_set

    for name in variables_to_clear(os.environ):
        del os.environ[name]
    os.environ.update(variables_to_set(settings.data_dir / "uploads"))


def _run_worker(given: argparse.Namespace, _settings: Settings) -> int:
    from sdwebui.bootstrap import run_worker

    facts = json.loads(given.settings)
    _configure_logging(facts["log_level"])
    return run_worker(given.fd, facts)


def _worker_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fd", type=int, required=True, help="Inherited socket; set by the runner.")
    parser.add_argument("--settings", required=True, help="JSON facts; set by the runner.")


def _run_migrate(_given: argparse.Namespace, settings: Settings) -> int:
    from sdwebui.storage.migrations import upgrade

    print(f"The database is at revision {upgrade(settings.database_url)}.")
    return 0


# ------------------------------------------------------------------------------------------- pictures and prompts


def _run_txt2img(given: argparse.Namespace, settings: Settings) -> int:
    from sdwebui.one_picture import draw, request_of

    _prepare_environment(settings)
    return draw(request_of(given), settings, out=given.out, as_json=given.json, say=print)


def _txt2img_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", help="Prompt in A1111's grammar.")
    parser.add_argument("--negative", default="", help="Negative prompt.")
    parser.add_argument("--model", help="Checkpoint by name, title or hash; the first one when left out.")
    parser.add_argument("--sampler", help="A1111 sampler name.")
    parser.add_argument("--schedule", help="A1111 schedule type.")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg-scale", type=float, default=7.0)
    parser.add_argument("--seed", type=int, default=-1, help="-1 for a random one.")
    parser.add_argument(
        "--width", type=int, help="Pixels, a multiple of 8; the checkpoint's native size when left out."
    )
    parser.add_argument(
        "--height", type=int, help="Pixels, a multiple of 8; the checkpoint's native size when left out."
    )
    parser.add_argument("--clip-skip", type=int)
    parser.add_argument("--batch-size", type=int, default=1, help="Pictures made at once.")
    parser.add_argument("--batch-count", type=int, default=1, help="Pictures, with seeds counting up.")
    parser.add_argument("--out", type=Path, default=Path(), help="Folder for the PNG files.")
    parser.add_argument("--json", action="store_true", help="Print JSON instead of sentences.")


def _run_verify(given: argparse.Namespace, settings: Settings) -> int:
    from sdwebui.verifying import verify

    _prepare_environment(settings)
    outcome = verify(given.image, settings)
    print(json.dumps(outcome.to_json(), ensure_ascii=False) if given.json else outcome.sentence)
    return 0 if outcome.is_same else EXIT_ERROR


def _verify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, help="A picture with generation parameters.")
    parser.add_argument("--json", action="store_true", help="Print JSON instead of a sentence.")


def _run_prompt(given: argparse.Namespace, _settings: Settings) -> int:
    from sdwebui.domain.prompt import parse_prompt

    texts = sys.stdin if given.prompt == "-" else [given.prompt]
    for text in texts:
        understood = parse_prompt(text.rstrip("\n"), given.steps).to_json()
        print(json.dumps(understood, ensure_ascii=False, indent=None if given.json else 2))
    return 0


def _prompt_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", help="A prompt; - reads one a line from standard input.")
    parser.add_argument("--steps", type=int, default=20, help="Steps that schedules are counted for.")
    parser.add_argument("--json", action="store_true", help="One JSON object a line.")


# ------------------------------------------------------------------------------------------- accounts and tokens


def _run_users(given: argparse.Namespace, settings: Settings) -> int:
    from sdwebui.bootstrap import open_stores

    accounts = open_stores(settings).accounts
    match given.action:
        case "add":
            accounts.add(given.name, _password(given), given.role)
            print(f"Account {given.name!r} was added.")
        case "passwd":
            accounts.set_password(given.name, _password(given))
            print(f"The password of {given.name!r} was changed; all its logins have ended.")
        case "disable":
            accounts.disable(given.name)
            print(f"Account {given.name!r} was disabled; all its logins have ended.")
        case "enable":
            accounts.disable(given.name, disabled=False)
            print(f"Account {given.name!r} was enabled.")
        case _:
            for account in accounts.list():
                print(f"{account.username}\t{account.role}\t{'disabled' if account.disabled else 'enabled'}")
    return 0


def _password(given: argparse.Namespace) -> str:
    """From a file, a terminal prompt, or a line of standard input; never from argv, which everybody can read."""
    if given.from_file:
        return read_password_file(given.from_file).value
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first, second = getpass.getpass("New password: "), getpass.getpass("Once more: ")
    if first != second:
        raise SdWebuiError("The two passwords differ; nothing was changed. Try again.")
    return first


def _users_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action in ("add", "passwd", "disable", "enable", "list"):
        sub = actions.add_parser(action, allow_abbrev=False)
        _setting_arguments(sub)
        if action != "list":
            sub.add_argument("name")
        if action in ("add", "passwd"):
            sub.add_argument("--from-file", type=Path, help="File with the password in one line.")
        if action == "add":
            sub.add_argument("--role", choices=("user", "admin"), default="user")


def _run_tokens(given: argparse.Namespace, settings: Settings) -> int:
    from sdwebui.bootstrap import open_stores

    accounts = open_stores(settings).accounts
    match given.action:
        case "add":
            print(accounts.add_token(given.name, given.label))
        case "revoke":
            accounts.revoke_token(given.label)
            print(f"Token {given.label!r} was revoked.")
        case _:
            for label, username, _created_at in accounts.tokens():
                print(f"{label}\t{username}")
    return 0


def _tokens_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", help="Print a new API token of an account, once.")
    add.add_argument("name")
    add.add_argument("label")
    revoke, listing = actions.add_parser("revoke", help="End a token."), actions.add_parser("list", help="Show labels.")
    revoke.add_argument("label")
    for sub in (add, revoke, listing):
        _setting_arguments(sub)


# ------------------------------------------------------------------------------------------------- looking around


def _run_models(given: argparse.Namespace, settings: Settings) -> int:
    from sdwebui.bootstrap import build_catalog
    from sdwebui.storage.model_catalog import FOLDERS

    catalog = build_catalog(settings)
    catalog.refresh()
    files = [file for kind in FOLDERS for file in catalog.models(kind)]
    for file in files:
        if given.action == "list" or file.problem:
            print(f"{file.kind}\t{file.name}\t{file.family or '-'}\t{file.size_bytes}\t{file.problem or 'healthy'}")
    bad = sum(bool(file.problem) for file in files)
    if given.action == "check":
        print(f"{len(files)} files, {bad} unusable.")
    return EXIT_ERROR if bad and given.action == "check" else 0


def _models_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "check"))


def _run_doctor(given: argparse.Namespace, settings: Settings) -> int:
    from sdwebui.doctor import examine

    findings = examine(settings)
    if given.json:
        print(json.dumps([finding.to_json() for finding in findings], ensure_ascii=False, indent=2))
    else:
        for finding in findings:
            print(f"{finding.verdict:<8}{finding.subject:<14}{finding.detail}")
    return EXIT_ERROR if any(finding.verdict == "broken" for finding in findings) else 0


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true")


def _run_bench(given: argparse.Namespace, _settings: Settings) -> int:
    import subprocess

    from sdwebui.bootstrap import ROOT

    script = ROOT / "scripts" / "bench" / f"{given.benchmark}.py"
    if not script.is_file():
        raise ConfigurationError(
            f"The benchmark {str(script)!r} is not there. Run this from a checkout of the project."
        )
    command = [sys.executable, "-m", f"scripts.bench.{given.benchmark}", *given.arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603  # our own benchmark


def _bench_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("benchmark", choices=("picture", "start"), help="One of scripts/bench/.")
    parser.add_argument("arguments", nargs="*", help="Arguments of the benchmark, behind a --.")


def _no_arguments(_parser: argparse.ArgumentParser) -> None:
    """For commands that need nothing but settings."""


_COMMANDS: tuple[_Command, ...] = (
    _Command(name="serve", help="Start the web UI and API.", add_arguments=_no_arguments, run=_run_serve),
    _Command(
        name="txt2img", help="Make a picture without a server.", add_arguments=_txt2img_arguments, run=_run_txt2img
    ),
    _Command(name="verify", help="Make a picture again and compare.", add_arguments=_verify_arguments, run=_run_verify),
    _Command(name="prompt", help="Show how a prompt is understood.", add_arguments=_prompt_arguments, run=_run_prompt),
    _Command(name="users", help="Manage accounts.", add_arguments=_users_arguments, run=_run_users),
    _Command(name="tokens", help="Manage API tokens.", add_arguments=_tokens_arguments, run=_run_tokens),
    _Command(name="models", help="List or check model files.", add_arguments=_models_arguments, run=_run_models),
    _Command(
        name="doctor", help="Say whether this machine can serve.", add_arguments=_doctor_arguments, run=_run_doctor
    ),
    _Command(name="bench", help="Run a benchmark, JSON out.", add_arguments=_bench_arguments, run=_run_bench),
    _Command(name="migrate", help="Bring the database to this version.", add_arguments=_no_arguments, run=_run_migrate),
    _Command(
        name="worker", help="A worker process; started by the server.", add_arguments=_worker_arguments, run=_run_worker
    ),
)
