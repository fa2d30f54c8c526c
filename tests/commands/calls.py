"""Commands as a user runs them, in this process."""

from sspq.commands.main import main


def output(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def error(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 2
    return capsys.readouterr().err
