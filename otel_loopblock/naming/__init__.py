"""Names for frames, code objects and the C functions that leave no frame.

Pure lookups in what is loaded already: no file is opened, no code of the application is run.
"""

from otel_loopblock.naming.callsite import called_name, has_just_begun, imported_module, spelled_name
from otel_loopblock.naming.lines import line_before
from otel_loopblock.naming.modules import module_in
from otel_loopblock.naming.ours import is_hook, is_our_callback, is_ours
from otel_loopblock.naming.public import display_name
from otel_loopblock.naming.qualname import qualified_name
from otel_loopblock.naming.text import printable, printable_path

__all__ = [
    "called_name",
    "display_name",
    "has_just_begun",
    "imported_module",
    "is_hook",
    "is_our_callback",
    "is_ours",
    "line_before",
    "module_in",
    "printable",
    "printable_path",
    "qualified_name",
    "spelled_name",
]
