"""Write the shell completion of `manage.py perfstats`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .report import Report

SHELLS = ("bash", "zsh")
# Every other word is left to Django's own completion (django_bash_completion), where that is loaded.
_SCRIPT = """\
# Completion of `manage.py perfstats`; load it with: source <(python manage.py perfstats --completion {shell})
_django_perf_columns() {{
    case $1 in
{columns}
    esac
}}
_django_perf() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} words="" report="" at=0 i sign=""
    [[ $cur == "=" ]] && cur=""
    [[ $prev == "=" ]] && prev=${{COMP_WORDS[COMP_CWORD-2]}}
    for ((i = 1; i < COMP_CWORD; i++)); do
        if ((at)) && [[ " {reports} " == *" ${{COMP_WORDS[i]}} "* ]]; then report=${{COMP_WORDS[i]}}; fi
        [[ ${{COMP_WORDS[i]}} == perfstats ]] && at=$i
    done
    if ((at == 0)); then
        if declare -f _django_completion >/dev/null; then _django_completion; fi
        return
    fi
    case $prev in
        --sort)
            [[ $cur == -* ]] && sign="-"
            for i in $(_django_perf_columns "${{report:-requests}}"); do words="$words $sign$i"; done ;;
{values}
        *) if [[ $cur == -* ]]; then words="{options}"; else words="{reports}"; fi ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _django_perf manage.py django-admin python python3
"""
_ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"


def script(
    shell: str, reports: Mapping[str, Report[Any]], options: Iterable[str], values: Mapping[str, Iterable[str]]
) -> str:
    """Return the script for one of SHELLS; `values` are what an option takes, where that can be listed."""
    columns = (f'        {name}) echo "{" ".join(c.name for c in one.columns)}" ;;' for name, one in reports.items())
    taken = (f'        {option}) words="{" ".join(known)}" ;;' for option, known in values.items())
    text = _SCRIPT.format(
        shell=shell,
        columns="\n".join(columns),
        values="\n".join(taken),
        options=" ".join(options),
        reports=" ".join(reports),
    )
    return f"{_ZSH}{text}" if shell == "zsh" else text
