# Builds pumice and installs it for C and C++ programs:
#
#     make install PREFIX=/usr/local
#
# PREFIX     where to, absolute or relative (/usr/local)
# DESTDIR    put in front of PREFIX, for packages (empty)
# LIBDIR     the folder for libraries below PREFIX: lib64, lib/x86_64-linux-gnu (lib)
# CARGO      the cargo to build with (cargo)
# PROFILE    the profile to build (dist)
# TARGET     a target triple to build for (the host)
# BUILD      where to build ($CARGO_TARGET_DIR, else target)
#
# `make` alone builds, so that `sudo make install` needs no cargo; `make uninstall` takes away what `make install` put.
# docs/install.md says what is installed and how to use it.

PREFIX ?= /usr/local
LIBDIR ?= lib
CARGO ?= cargo
PROFILE ?= dist
TARGET ?=
BUILD ?= $(or $(CARGO_TARGET_DIR),target)

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# The number in the library's own name, which is the ABI's.
ABI := $(shell sed -n 's/.*-soname,libpumice\.so\.\([0-9]*\).*/\1/p' capi/build.rs)

ifneq (,$(or $(findstring apple,$(TARGET)),$(and $(if $(TARGET),,1),$(filter Darwin,$(shell uname -s)))))
built := libpumice_capi.dylib
shared := libpumice.$(VERSION).dylib
soname := libpumice.$(ABI).dylib
linked := libpumice.dylib
else
built := libpumice_capi.so
shared := libpumice.so.$(VERSION)
soname := libpumice.so.$(ABI)
linked := libpumice.so
endif

target := $(if $(TARGET),--target $(TARGET))
out := $(BUILD)/$(if $(TARGET),$(TARGET)/)$(PROFILE)
# What is made from the build: the static library without debug information, and what it needs of the system.
stage := $(out)/install
root := $(DESTDIR)$(if $(filter /%,$(PREFIX)),,$(CURDIR)/)$(PREFIX)
lib := $(root)/$(LIBDIR)
# From LIBDIR to PREFIX: what is installed finds its neighbours from where it is itself.
nothing :=
up := $(subst $(nothing) ,/,$(patsubst %,..,$(subst /, ,$(LIBDIR))))

# Puts a file in place whole or not at all: a program may be running with the one before.
put = cp $(1) "$(2).new" && chmod $(3) "$(2).new" && mv -f "$(2).new" "$(2)"
link = ln -sf $(1) "$(2).new" && mv -f "$(2).new" "$(2)"
fill = sed -e 's|@VERSION@|$(VERSION)|g' -e 's|@UP@|$(up)|g' -e 's|@SHARED@|$(shared)|g' \
	-e 's|@SONAME@|$(soname)|g' -e "s|@NATIVE@|$$(cat $(stage)/libs)|g" capi/install/$(1).in \
	> "$(2)/$(1).new" && chmod 644 "$(2)/$(1).new" && mv -f "$(2)/$(1).new" "$(2)/$(1)"

.PHONY: all install uninstall
.SILENT:

all:
	if command -v $(CARGO) > /dev/null; then \
		$(CARGO) build --profile $(PROFILE) --locked --package pumice-capi --target-dir $(BUILD) $(target) && \
		mkdir -p $(stage) && new=$(stage)/$$$$ && cp $(out)/libpumice_capi.a $$new && \
		{ strip -S $$new || cp $(out)/libpumice_capi.a $$new; } && mv $$new $(stage)/libpumice.a && \
		{ echo | $(or $(RUSTC),rustc) $(target) --crate-type staticlib --print native-static-libs -o $$new - 2>&1; } \
			| sed -n 's/.*native-static-libs: *//p' > $$new.libs && rm $$new && mv $$new.libs $(stage)/libs; \
	elif ! [ -f $(stage)/libs ]; then \
		echo "cargo builds pumice (https://rustup.rs), and there is none on this PATH" >&2; exit 1; \
	fi

install: all
	mkdir -p "$(lib)/pkgconfig" "$(lib)/cmake/pumice" "$(root)/include" "$(root)/share/licenses/pumice"
	$(call put,$(out)/$(built),$(lib)/$(shared),755)
	$(call link,$(shared),$(lib)/$(soname))
	$(call link,$(soname),$(lib)/$(linked))
	$(call put,$(stage)/libpumice.a,$(lib)/libpumice.a,644)
	$(call put,include/pumice.h,$(root)/include/pumice.h,644)
	$(call put,bindings/cpp/pumice.hpp,$(root)/include/pumice.hpp,644)
	$(call fill,pumice.pc,$(lib)/pkgconfig)
	$(call fill,pumice-static.pc,$(lib)/pkgconfig)
	$(call fill,pumice-config.cmake,$(lib)/cmake/pumice)
	$(call fill,pumice-config-version.cmake,$(lib)/cmake/pumice)
	$(call put,LICENSE-MIT,$(root)/share/licenses/pumice/LICENSE-MIT,644)
	$(call put,LICENSE-APACHE,$(root)/share/licenses/pumice/LICENSE-APACHE,644)
	echo "pumice $(VERSION) is installed in $(root)"

uninstall:
	rm -f "$(lib)/$(shared)" "$(lib)/$(soname)" "$(lib)/$(linked)" "$(lib)/libpumice.a"
	rm -f "$(lib)/pkgconfig/pumice.pc" "$(lib)/pkgconfig/pumice-static.pc"
	rm -f "$(root)/include/pumice.h" "$(root)/include/pumice.hpp"
	rm -rf "$(lib)/cmake/pumice" "$(root)/share/licenses/pumice"
