"""pyVmomi's names.  It makes the types of VMware's API when it is loaded, so none can be checked ahead."""

import re
from typing import Any

from pyVmomi import SoapAdapter, VmomiSupport
from pyVmomi import vim as _vim
from pyVmomi import vmodl as _vmodl

vim: Any = _vim
vmodl: Any = _vmodl
SoapStubAdapter: Any = SoapAdapter.SoapStubAdapter
F_OPTIONAL: int = VmomiSupport.F_OPTIONAL

_ESCAPED = re.compile(r"%(2f|5c|25)", re.IGNORECASE)
_LETTERS = {"2f": "/", "5c": "\\", "25": "%"}


def plain(name: object) -> str:
    """Return a name as people typed it: VMware escapes what its paths cannot hold."""
    return _ESCAPED.sub(lambda found: _LETTERS[found[1].lower()], str(name))


def identity(ref: Any) -> str:
    """Return the server's own id of an object."""
    return str(ref._GetMoId())  # noqa: SLF001  # pyVmomi offers no other way to it


def kind_of(thing: Any) -> str:
    """Return VMware's word for the kind of a thing."""
    return type(thing).__name__.rpartition(".")[2]
