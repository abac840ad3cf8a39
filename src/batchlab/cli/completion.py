"""`batchlab completion`: the completion script of a shell."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    For bash: batchlab completion bash >> ~/.bashrc
    """
    from click.shell_completion import get_completion_class

    of_shell = get_completion_class(shell)
    assert of_shell is not None
    print(of_shell(context.find_root().command, {}, "batchlab", "_BATCHLAB_COMPLETE").source())
