# Moonbook: build, test, install. `make help` lists the targets.

BUILD    ?= build
PREFIX   ?= /usr/local
CC       ?= cc
SANITIZE ?=

VERSION  := 0.1.0
PACKAGES := lua5.4 libuv libcurl yajl libcrypto libssh2 libedit
UNIT_PACKAGES := cmocka

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
# CPPFLAGS, CFLAGS and LDFLAGS are the builder's own; what the program needs is beside them.
CFLAGS   ?= -O2 -g
DEFINES  := -D_GNU_SOURCE -Iruntime -Ibindings -I$(BUILD)/generated -DMOONBOOK_VERSION='"$(VERSION)"' \
            -DMOONBOOK_SCRIPTS='"$(PREFIX)/share/moonbook/scripts"'
FLAGS    := -std=c17 $(WARNINGS) $(WERROR) -fno-strict-aliasing -fstack-protector-strong
LINKING  := -rdynamic -Wl,--as-needed -Wl,-z,relro,-z,now
ifneq ($(SANITIZE),)
FLAGS    += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LINKING  += -fsanitize=address,undefined
endif

# Asked for when something is compiled, not for `make deps` or `make clean`.
PKG_CFLAGS = $(shell pkg-config --cflags $(PACKAGES))
PKG_LIBS   = $(shell pkg-config --libs $(PACKAGES)) -lm

SOURCES   := $(sort $(wildcard runtime/*.c bindings/*.c))
OBJECTS   := $(SOURCES:%.c=$(BUILD)/object/%.o)
UNITS     := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(sort $(wildcard tests/unit/test_*.c)))
RIVALS    := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(sort $(wildcard tests/bench/*.c)))

all: $(BUILD)/moonbook

$(BUILD)/moonbook: $(OBJECTS)
	$(CC) $(LINKING) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(BUILD)/object/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(DEFINES) $(CPPFLAGS) $(PKG_CFLAGS) $(FLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# The products' endpoints: one line each in bindings/PRODUCT.tsv.
$(BUILD)/generated/%_rows.h: bindings/%.tsv bindings/rows.awk
	@mkdir -p $(@D)
	awk -f bindings/rows.awk $< >$@

$(foreach product,consul nomad vault,$(eval $(BUILD)/object/bindings/$(product).o: $(BUILD)/generated/$(product)_rows.h))

$(BUILD)/unit/%: tests/unit/%.c $(filter-out $(BUILD)/object/runtime/main.o,$(OBJECTS))
	@mkdir -p $(@D)
	$(CC) $(DEFINES) $(CPPFLAGS) $(PKG_CFLAGS) $(FLAGS) $(CFLAGS) -MMD -MP -MF $@.d $(LINKING) $(LDFLAGS) \
	    -o $@ $^ $(PKG_LIBS) $(shell pkg-config --libs $(UNIT_PACKAGES))

units: $(UNITS)

# Fuzzers, by clang's libFuzzer whatever CC is: the text of configurations. Of failure.c only what has no Lua in it.
FUZZED     := $(sort $(filter-out bindings/hcl_lua.c,$(wildcard bindings/hcl_*.c))) bindings/file_edit.c \
              runtime/buffer.c runtime/utf8.c
FUZZ_CHECK := -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
FUZZ_FLAGS  = -std=c17 -g -O1 $(WARNINGS) $(DEFINES) $(CPPFLAGS) $(PKG_CFLAGS)

$(BUILD)/fuzz/fuzz_hcl: tests/fuzz/fuzz_hcl.c tests/fuzz/hcl_edits.h $(FUZZED) $(wildcard bindings/hcl_*.h) runtime/failure.c
	@mkdir -p $(@D)
	clang $(FUZZ_FLAGS) -ffunction-sections -c -o $(@D)/failure.o runtime/failure.c
	clang $(FUZZ_FLAGS) $(FUZZ_CHECK) -Wl,--gc-sections -o $@ $< $(FUZZED) $(@D)/failure.o $(PKG_LIBS)

fuzz: $(BUILD)/fuzz/fuzz_hcl

# What the program is measured against.
$(BUILD)/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(PKG_CFLAGS) -std=c17 $(WARNINGS) $(WERROR) $(CFLAGS) -Wl,--as-needed $(LDFLAGS) -o $@ $< $(PKG_LIBS)

rivals: $(RIVALS)

# ---- what must be installed ----

# To build, to test, to lint and to measure, by Debian's names (bookworm is the floor).
BUILD_DEPS := gcc libc6-dev make pkg-config liblua5.4-dev libcurl4-openssl-dev libuv1-dev libyajl-dev libssl-dev libssh2-1-dev \
              libedit-dev lua-cjson
TEST_DEPS  := iproute2 openssh-client openssh-server sudo libcmocka-dev python3 openssl strace valgrind expect util-linux procps pass \
              clang libclang-rt-dev
LINT_DEPS  := clang clang-format lua-check shellcheck
BENCH_DEPS := openssh-client openssh-server clustershell openssl curl time expect

deps:
	@tests/deps $(BUILD_DEPS) $(TEST_DEPS)

deps-build:
	@tests/deps $(BUILD_DEPS)

deps-lint:
	@tests/deps $(BUILD_DEPS) $(LINT_DEPS)

deps-bench:
	@tests/deps $(BUILD_DEPS) $(BENCH_DEPS)

# ---- what people run ----

# Sub-makes, so that pkg-config is asked after the installation.
demo: deps-build
	@$(MAKE) --no-print-directory all
	@tests/demo $(BUILD)

test: deps
	@$(MAKE) --no-print-directory all units fuzz
	@tests/run $(BUILD) $(SUITES)

bench: deps-bench
	@$(MAKE) --no-print-directory all rivals
	@tests/bench/run $(BUILD)

lint: deps-lint
	@tests/lint $(SOURCES)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/moonbook
	install -m 0755 $(BUILD)/moonbook $(DESTDIR)$(PREFIX)/bin/moonbook
	cp -R --no-preserve=ownership scripts $(DESTDIR)$(PREFIX)/share/moonbook/

clean:
	rm -rf build

help:
	@echo 'make            build $(BUILD)/moonbook'
	@echo 'make deps       install what building and testing need (apt, as root)'
	@echo 'make demo       a throwaway host joins a cluster before your eyes (root)'
	@echo 'make test       everything that can be tested on this machine (the lab needs root)'
	@echo 'make fuzz       $(BUILD)/fuzz/fuzz_hcl: the fuzzer of configurations (tests/fuzz/run bounds it)'
	@echo 'make lint       formatting, warnings of two compilers, luacheck, shellcheck'
	@echo 'make bench      speed and memory, as ratios against named rivals (the lab needs root)'
	@echo 'make install    PREFIX=$(PREFIX) DESTDIR='
	@echo 'make clean      remove every build product'
	@echo 'make test SUITES="lua -lua/ssh": only suites of that name, and not those'
	@echo 'SANITIZE=1 BUILD=build/sanitize: the same with address and undefined-behaviour sanitizers'

-include $(OBJECTS:.o=.d) $(UNITS:=.d)

.PHONY: all units fuzz rivals deps deps-build deps-lint deps-bench demo test bench lint install clean help
.DELETE_ON_ERROR:
