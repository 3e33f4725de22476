"""The object that is offered on the bus: its interfaces with their methods and signals, and its introspection."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jeepney import (
    DBusAddress,
    HeaderFields,
    Message,
    MessageFlag,
    MessageType,
    new_error,
    new_method_return,
    new_signal,
)

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass

if TYPE_CHECKING:
    from typing import Any

_ERRORS = "org.freedesktop.DBus.Error"
_HEAD = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)


class CallError(Exception):
    """A call that can't be carried out.

    Args:
        name: the D-Bus name of the error.
        text: what is wrong.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name
        self.text = text


Arguments = tuple[tuple[str, str], ...]
"""The names and D-Bus types of arguments."""


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes:
        name: its name.
        takes: its arguments.
        gives: what it returns.
        call: carries it out; may raise CallError.
    """

    name: str
    takes: Arguments
    gives: Arguments
    call: Callable[..., tuple[Any, ...]]


@dataclass(frozen=True)
class Interface:
    """An interface: its name, its methods, and its signals with their arguments."""

    name: str
    methods: Sequence[Method]
    signals: Sequence[tuple[str, Arguments]] = ()


class BusObject:
    """The one object that a program offers.

    Args:
        path: its object path.
        interfaces: its interfaces, besides the standard ones.
    """

    def __init__(self, path: str, interfaces: Sequence[Interface]) -> None:
        self._path = path
        self._interfaces = interfaces
        text = (("xml_data", "s"),)
        self._describing = Interface("org.freedesktop.DBus.Introspectable", [Method("Introspect", (), text, tuple)])
        self._peer = Interface("org.freedesktop.DBus.Peer", [Method("Ping", (), (), tuple)])

    def answer(self, message: Message) -> Message | None:
        """The reply to a message; None if none is expected."""
        header = message.header
        if header.message_type is not MessageType.method_call:
            return None
        reply = self._call(message)
        return None if header.flags & MessageFlag.no_reply_expected else reply

    def signal(self, interface: Interface, name: str, *values: Any) -> Message:
        """A signal of the object."""
        arguments = dict(interface.signals)[name]
        return new_signal(DBusAddress(self._path, interface=interface.name), name, _signature(arguments), values)

    def _call(self, message: Message) -> Message:
        fields = message.header.fields
        path, asked = fields[HeaderFields.path], fields.get(HeaderFields.interface)
        name = fields[HeaderFields.member]
        is_ours = path == self._path
        if not is_ours and not self._path.startswith(path.rstrip("/") + "/"):
            return _error(message, "UnknownObject", f"there is no object {path}")
        offered = [*(self._interfaces if is_ours else ()), self._describing, self._peer]
        for interface in offered:
            for method in interface.methods:
                if method.name == name and asked in (None, interface.name):
                    return self._carry_out(message, interface, method)
        return _error(message, "UnknownMethod", f"there is no method {name} of {asked or 'any interface'} at {path}")

    def _carry_out(self, message: Message, interface: Interface, method: Method) -> Message:
        fields = message.header.fields
        if (fields.get(HeaderFields.signature) or "") != _signature(method.takes):
            return _error(message, "InvalidArgs", f"{method.name} takes ({_signature(method.takes)})")
        if interface is self._describing:
            values: tuple[Any, ...] = (self._describe(fields[HeaderFields.path]),)
        else:
            try:
                values = method.call(*message.body)
            except CallError as error:
                return new_error(message, error.name, "s", (error.text,))
        return new_method_return(message, _signature(method.gives) or None, values)

    def _describe(self, path: str) -> str:
        if path == self._path:
            inside = "".join(map(_xml, [*self._interfaces, self._describing, self._peer]))
        else:
            child = self._path[len(path.rstrip("/")) + 1 :].partition("/")[0]
            inside = f'  <node name="{child}"/>\n'
        return f"{_HEAD}<node>\n{inside}</node>\n"


def _error(message: Message, name: str, text: str) -> Message:
    return new_error(message, f"{_ERRORS}.{name}", "s", (text,))


def _signature(arguments: Arguments) -> str:
    return "".join(kind for _, kind in arguments)


def _xml(interface: Interface) -> str:
    lines = [f'  <interface name="{interface.name}">']
    for method in interface.methods:
        lines.append(f'    <method name="{method.name}">')
        lines += [f'      <arg name="{name}" type="{kind}" direction="in"/>' for name, kind in method.takes]
        lines += [f'      <arg name="{name}" type="{kind}" direction="out"/>' for name, kind in method.gives]
        lines.append("    </method>")
    for signal, arguments in interface.signals:
        lines.append(f'    <signal name="{signal}">')
        lines += [f'      <arg name="{name}" type="{kind}"/>' for name, kind in arguments]
        lines.append("    </signal>")
    return "\n".join([*lines, "  </interface>", ""])
