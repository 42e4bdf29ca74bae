"""The table of functions is the header's; and what is wrong in a call becomes a status. Both are read off the header."""

import ctypes
import inspect
import unittest

from support import MODEL, callbacks, constants, functions
import pumice
from pumice import Finish, LogLevel, Outputs, Status, TokenFlag, _ffi, describe, load_library, metadata, model, session
from pumice._watch import CONTINUE

SCALARS = {
    "void": None,
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "pumice_status": ctypes.c_int32,
    "pumice_token": ctypes.c_int32,
    "pumice_seq": ctypes.c_int32,
    "pumice_progress_fn": _ffi.ProgressFn,
    "pumice_text_fn": _ffi.TextFn,
    "pumice_read_fn": _ffi.ReadFn,
    "pumice_log_fn": _ffi.LogFn,
    "pumice_drop_fn": _ffi.DropFn,
}
HANDLES = ("error", "options", "model", "session", "batch", "sampler")
STOP = _ffi.ReadFn(lambda *_arguments: 0)
# Where NULL has a meaning. Buffers may be NULL if their size is 0.
NULLABLE = {"err", "opts", "fn", "drop", "user_data", "finish", "tmpl"}


def expected(kind):
    """What the table must have for a type of the header."""
    plain = kind.replace("const", "").replace(" ", "")
    if plain in SCALARS:
        return {SCALARS[plain]}
    if plain == "char*":
        return {ctypes.c_char_p}
    if plain.endswith("**"):
        # An address: of a handle or of bytes that need no NUL. Floats are read in place.
        return {ctypes.POINTER(ctypes.POINTER(ctypes.c_float))} if plain == "float**" else {_ffi._OUT}
    if plain == "void*" or plain[:-1] in {f"pumice_{name}" for name in HANDLES}:
        return {ctypes.c_void_p}
    return {ctypes.POINTER(SCALARS[plain[:-1]])}


class Table(unittest.TestCase):
    def test_every_function_is_declared_as_in_the_header(self):
        declared = functions()
        self.assertGreater(len(declared), 50)
        self.assertEqual(list(_ffi.PROTOTYPES), list(declared))
        for name, (result, arguments) in declared.items():
            table_result, table_arguments = _ffi.PROTOTYPES[name]
            self.assertIn(table_result, expected(result), name)
            self.assertEqual(len(table_arguments), len(arguments), name)
            for found, (kind, argument) in zip(table_arguments, arguments):
                self.assertIn(found, expected(kind), f"{name}: {argument}")

    def test_every_callback_is_declared_as_in_the_header(self):
        declared = callbacks()
        self.assertGreaterEqual(len(declared), 3)
        for name, (result, arguments) in declared.items():
            function = SCALARS[name]
            self.assertEqual(function._restype_, SCALARS[result], name)
            # Text in a callback has a length instead of a NUL.
            text = {"constchar*": ctypes.c_void_p}
            self.assertEqual(
                list(function._argtypes_), [text.get(kind) or next(iter(expected(kind))) for kind in arguments], name
            )

    def test_constants_are_the_headers(self):
        enums = {
            "ERR": Status,
            "TOKEN": TokenFlag,
            "OUTPUTS": Outputs,
            "FINISH": Finish,
            "META": metadata._Type,
            "LOG": LogLevel,
            "TOKENIZE": model._Tokenize,
        }
        own = {"PUMICE_OK": Status.OK, "PUMICE_CONTINUE": CONTINUE, "PUMICE_SEQ_ALL": session._ALL}
        own["PUMICE_DETOKENIZE_SPECIAL"] = model._DETOKENIZE_SPECIAL
        for prefix, enum in enums.items():
            own.update({f"PUMICE_{prefix}_{m.name}": int(m) for m in enum if (prefix, m.name) != ("ERR", "OK")})
        # Options are set by their names, and the two ways to chat are one here.
        other = ("PUMICE_KEY_", "PUMICE_VERSION_", "PUMICE_CHAT_")
        found = {name: value for name, value in constants().items() if not name.startswith(other)}
        self.assertEqual({name: own.get(name) for name in found}, found)
        library = load_library()
        self.assertEqual(library.pumice_version_string(), constants()["PUMICE_VERSION_STRING"].encode())
        for name, value in constants().items():
            if name.startswith("PUMICE_ERR_"):
                self.assertEqual(library.pumice_status_name(value), name.encode())
            if name.startswith("PUMICE_KEY_"):
                self.assertTrue(library.pumice_has_feature(b"key:" + value.encode()), name)

    def test_every_status_has_an_exception(self):
        classes = [type(pumice.errors.error(status, "")) for status in Status if status != Status.OK]
        self.assertEqual(len(set(classes)), len(Status) - 1)
        self.assertTrue(all(cls is getattr(pumice, cls.__name__) and cls is not pumice.Error for cls in classes))

    def test_every_option_has_a_parameter(self):
        takes = {
            "model": pumice.Model.__init__,
            "session": pumice.Session.__init__,
            "sampler": pumice.Sampler.__init__,
            "generate": pumice.Session.generate,
        }
        keys = [key["key"].split(".") for key in describe()["keys"]]
        self.assertEqual({scope for scope, _name in keys}, set(takes))
        for scope, name in keys:
            self.assertIn(name, inspect.signature(takes[scope]).parameters)


class Misuse(unittest.TestCase):
    """Calls every function with good arguments but for one."""

    def setUp(self):
        self.library = load_library()
        self.err = self.library.pumice_error_new()
        self.handles = {"error": self.err}
        for name in ("options", "batch"):
            self.handles[name] = self.make(f"pumice_{name}_new")
        self.handles["model"] = self.make("pumice_model_open", MODEL.encode(), None)
        for name in ("session", "sampler"):
            self.handles[name] = self.make(f"pumice_{name}_new", self.handles["model"], None)

    def tearDown(self):
        for name in ("options", "batch", "model", "session", "sampler", "error"):
            getattr(self.library, f"pumice_{name}_free")(self.handles[name])

    def make(self, function, *arguments):
        out = ctypes.c_void_p()
        self.assertEqual(getattr(self.library, function)(*arguments, ctypes.byref(out), None), 0)
        return out.value

    def good(self, kind, argument, keep):
        """An argument that is fine; what it points to goes into ``keep``."""
        plain = kind.replace("const", "")
        for name in HANDLES:
            if plain == f"pumice_{name}*":
                return self.handles[name]
        if argument == "read":
            keep.append(_ffi.ReadFn(lambda *_arguments: 0))
            return keep[-1]
        if argument in ("fn", "drop"):
            return SCALARS[plain]()
        if argument == "read":
            return STOP
        if plain in SCALARS:
            return 1.0 if plain in ("float", "double") else 1
        if argument == "user_data":
            return None
        text = {"path": MODEL, "key": "generate.stop", "name": "n_ctx"}.get(argument, "a")
        if plain == "char*" and kind.startswith("const"):
            return text.encode()
        keep.append(ctypes.create_string_buffer(b"\0" * 4096))
        target = next(iter(expected(kind)))
        return ctypes.cast(keep[-1], target)

    def test_null_for_each_pointer_of_each_function(self):
        tried = 0
        for name, (result, arguments) in functions().items():
            if name.endswith("_free") or name == "pumice_session_cancel":
                getattr(self.library, name)(None)  # nothing happens
                continue
            for at, (kind, argument) in enumerate(arguments):
                if not (kind.endswith("*") and argument not in NULLABLE) or result != "pumice_status":
                    continue
                if name == "pumice_error_status":
                    self.assertEqual(self.library.pumice_error_status(None), Status.NULL)
                    continue
                with self.subTest(function=name, argument=argument):
                    keep = []
                    values = [self.good(k, a, keep) for k, a in arguments]
                    before = [bytes(buffer) for buffer in keep]
                    values[at] = None
                    status = getattr(self.library, name)(*values)
                    tried += 1
                    wanted = {Status.NULL}
                    if name.startswith("pumice_model_meta_") and argument != "model":
                        wanted.add(Status.NOT_FOUND)  # the key is looked up first
                    self.assertIn(status, wanted)
                    self.assertEqual(self.library.pumice_error_status(self.err), status)
                    self.assertTrue(self.library.pumice_error_message(self.err))
                    # Nothing was stored. (Handles become NULL, which these zeros are.)
                    self.assertEqual([bytes(buffer) for buffer in keep], before)
        self.assertGreater(tried, 90)

    def test_other_handles_in_place_of_each(self):
        tried = 0
        zeros = ctypes.create_string_buffer(256)
        wrong = {**self.handles, "zeros": ctypes.addressof(zeros), "odd": ctypes.addressof(zeros) + 1}
        for name, (result, arguments) in functions().items():
            if result != "pumice_status":
                continue
            for at, (kind, argument) in enumerate(arguments):
                own = next((h for h in HANDLES if kind.replace("const", "") == f"pumice_{h}*"), None)
                if own is None:
                    continue
                for other, handle in wrong.items():
                    if other == own or handle is None:
                        continue
                    with self.subTest(function=name, argument=argument, other=other):
                        keep = []
                        values = [self.good(k, a, keep) for k, a in arguments]
                        values[at] = handle
                        self.assertEqual(getattr(self.library, name)(*values), Status.BAD_HANDLE)
                        tried += 1
        self.assertGreater(tried, 500)
        for name in HANDLES:  # freeing what is something else does nothing
            for other, handle in wrong.items():
                if other != name:
                    getattr(self.library, f"pumice_{name}_free")(handle)
        self.assertEqual(self.library.pumice_session_reset(self.handles["session"], self.err), 0)

    def test_flags_and_choices_have_no_unknown_values(self):
        library, err, model = self.library, self.err, self.handles["model"]
        count = ctypes.c_size_t(5)
        for flags in (4, 8, -1, 2**31 - 1, -(2**31)):
            status = library.pumice_model_tokenize(model, b"a", 1, flags, None, 0, ctypes.byref(count), err)
            self.assertEqual(status, Status.INVALID)
            status = library.pumice_model_detokenize(model, None, 0, flags, None, 0, ctypes.byref(count), err)
            self.assertEqual(status, Status.INVALID)
            token = (ctypes.c_int32 * 1)(1)
            status = library.pumice_batch_add(self.handles["batch"], 0, token, 1, flags, err)
            self.assertEqual(status, Status.INVALID)
        self.assertEqual(count.value, 5)


if __name__ == "__main__":
    unittest.main()
