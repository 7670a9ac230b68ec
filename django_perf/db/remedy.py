"""Say what would send one statement in the place of many, by looking at the relation that sends them.

The frames between the project's line and the cursor are Django's: they tell which descriptor, manager or method it was.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import Any

from django.db.models import Model, QuerySet

from ..metrics.callsite import Site, find_site, short_file

_MOST_FRAMES = 60
Locals = dict[str, Any]


def _forward(names: Locals) -> str:
    return f'select_related("{names["self"].field.name}") where {_model(names["instance"])} is read'


def _reverse_one(names: Locals) -> str:
    return f'select_related("{names["self"].related.get_accessor_name()}") where {_model(names["instance"])} is read'


def _generic(names: Locals) -> str:
    return f'prefetch_related("{names["self"].name}") where {_model(names["instance"])} is read'


def _deferred(names: Locals) -> str:
    field, model = names["self"].field.attname, _model(names["instance"])
    return f'read "{field}" with the rest: take it out of defer(), or into only(), where {model} is read'


def _get(names: Locals) -> str:
    rows = names["self"]
    return _of_relation(rows, "") or f"{rows.model.__name__}.objects.in_bulk([...]) once, instead of get() for each"


def _count(names: Locals) -> str:
    rows = names["self"]
    return _of_relation(rows, "Count") or f"one query of {rows.model.__name__} with values() and annotate() for all"


def _exists(names: Locals) -> str:
    rows = names["self"]
    return _of_relation(rows, "Exists") or f"one query of {rows.model.__name__} with __in, instead of one for each"


def _rows(names: Locals) -> str:
    rows = names["self"]
    return _of_relation(rows, "") or f"one query of {rows.model.__name__} with __in, instead of one for each"


def _save(names: Locals) -> str:
    model = type(names["self"]).__name__
    is_new = getattr(getattr(names["self"], "_state", None), "adding", False)
    return f"{model}.objects.{'bulk_create' if is_new else 'bulk_update'}() once, instead of save() for each"


def _update(names: Locals) -> str:
    return f"one update() of {names['self'].model.__name__} for all, or bulk_update()"


def _delete(names: Locals) -> str:
    return "one delete() of a queryset, instead of one for each"


# By the end of the file's name and by the function: the surest first, for a descriptor calls get(), and get() fetches.
_RELATED, _QUERY = "models/fields/related_descriptors.py", "models/query.py"
_RULES: dict[tuple[str, str], tuple[int, Callable[[Locals], str]]] = {
    (_RELATED, "ForwardManyToOneDescriptor.__get__"): (0, _forward),
    (_RELATED, "ReverseOneToOneDescriptor.__get__"): (0, _reverse_one),
    ("contrib/contenttypes/fields.py", "GenericForeignKey.__get__"): (0, _generic),
    ("models/query_utils.py", "DeferredAttribute.__get__"): (1, _deferred),
    ("models/base.py", "Model.save"): (2, _save),
    ("models/base.py", "Model.delete"): (2, _delete),
    (_QUERY, "QuerySet.update"): (3, _update),
    (_QUERY, "QuerySet.delete"): (3, _delete),
    (_QUERY, "QuerySet.count"): (4, _count),
    (_QUERY, "QuerySet.aggregate"): (4, _count),
    (_QUERY, "QuerySet.exists"): (4, _exists),
    (_QUERY, "QuerySet.get"): (5, _get),
    (_QUERY, "QuerySet._fetch_all"): (6, _rows),
    (_QUERY, "QuerySet._iterator"): (6, _rows),
}
_FILES = tuple({file for file, _ in _RULES})


def remedy_of(frame: FrameType | None) -> str:
    """Return what to write instead, from the frame that sends the statement outwards; what always holds if unknown."""
    best, found = 99, "one statement for all, instead of one for each"
    for _ in range(_MOST_FRAMES):
        if frame is None:
            break
        rule = _rule_of(frame)
        if rule is not None and rule[0] < best:
            best, found = rule[0], rule[1](frame.f_locals)
        frame = frame.f_back
    return found


def _rule_of(frame: FrameType) -> tuple[int, Callable[[Locals], str]] | None:
    code = frame.f_code
    file = next((one for one in _FILES if code.co_filename.endswith(one)), None)
    return None if file is None else _RULES.get((file, code.co_qualname))


def _of_relation(rows: QuerySet[Any], function: str) -> str:
    """Return the remedy where `rows` were asked for through a relation of an instance, "" where they were not."""
    instance = rows._hints.get("instance")  # type: ignore[attr-defined]  # related managers leave it there
    if instance is None:
        return ""
    name, model = _accessor(rows, instance), _model(instance)
    if not name:
        return f"prefetch_related() of {rows.model.__name__} where {model} is read"
    if function == "Exists":
        return f'annotate(Exists(...)) of "{name}", or prefetch_related("{name}"), where {model} is read'
    what = f'annotate({function}("{name}"))' if function else f'prefetch_related("{name}")'
    return f"{what} where {model} is read"


def _accessor(rows: QuerySet[Any], instance: Model) -> str:
    """Return the name under which an instance knows the rows."""
    for field in rows._known_related_objects:  # type: ignore[attr-defined]  # of a reverse foreign key
        return str(field.remote_field.get_accessor_name())
    names = [
        field.get_accessor_name() if field.auto_created else field.name  # type: ignore[union-attr]
        for field in instance._meta.get_fields()
        if field.many_to_many and field.related_model is rows.model
    ]
    return str(names[0]) if len(names) == 1 else ""


def _model(instance: Any) -> str:
    return type(instance).__name__


def template_site(frame: FrameType | None) -> Site | None:
    """Return "shop/list.html:12" for the innermost node of a template that is rendered, else the site in the code."""
    outer = frame
    for _ in range(_MOST_FRAMES):
        if outer is None:
            break
        code = outer.f_code
        if code.co_name == "render_annotated" and code.co_filename.endswith("django/template/base.py"):
            node = outer.f_locals["self"]
            origin, token = getattr(node, "origin", None), getattr(node, "token", None)
            if origin and token:  # a node that was made by hand has neither: the one around it says more
                return f"{short_file(str(origin.template_name or '(template)'))}:{token.lineno}"
        outer = outer.f_back
    return find_site(frame)
