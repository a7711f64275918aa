# shellcheck shell=sh
# Probes: what this machine has. Each answers one question, fast and offline, by asking the program itself where it can.
# Sourced by scripts/setup.sh. Installs nothing, writes nothing.

setup_qemu=${STRATO_QEMU:-qemu-system-aarch64}

# One value, or one list as words, of rust-toolchain.toml: the only place that names the toolchain.
setup_pinned() { sed -n "s/^$1 *= *//p" rust-toolchain.toml | tr -d '[]",'; }

setup_path() { # makes rustup's programs reachable when the shell profile did not, and prefers them to the system's Rust
    for setup_dir in "${CARGO_HOME:-${HOME:-}/.cargo}/bin" /opt/homebrew/opt/rustup/bin /usr/local/opt/rustup/bin; do
        if [ -x "$setup_dir/rustup" ] && [ -x "$setup_dir/cargo" ]; then
            [ "$(command -v cargo)" = "$setup_dir/cargo" ] || PATH=$setup_dir:$PATH
            break
        fi
    done
    export PATH
}

setup_toolchain() { printf '%s' "${RUSTUP_TOOLCHAIN:-$(setup_pinned channel)}"; }

# Sets the folder of the toolchain that cargo would use. Asking rustc would install one, before rustup 1.28 and in silence.
setup_find_sysroot() {
    setup_sysroot=''
    if command -v rustup >/dev/null 2>&1; then
        for setup_dir in "${RUSTUP_HOME:-${HOME:-}/.rustup}/toolchains/$(setup_toolchain)"*; do
            [ -x "$setup_dir/bin/cargo" ] && setup_sysroot=$setup_dir
        done
    else # a distribution's Rust does not read rust-toolchain.toml, so its version is compared
        setup_version=$(rustc --version 2>/dev/null | sed 's/^rustc \([0-9.]*\).*/\1/')
        printf '%s\n' "$(setup_pinned channel)" "$setup_version" | sort -C -V && setup_sysroot=$(rustc --print sysroot)
    fi
    [ -n "$setup_sysroot" ]
}

setup_has_rust() { # the folders decide: cargo itself starts without a target and fails late, with E0463
    setup_find_sysroot || return
    [ -x "$setup_sysroot/bin/cargo-clippy" ] && [ -x "$setup_sysroot/bin/cargo-fmt" ] || return
    [ "${STRATO_NEED:-}" = host ] && return
    for setup_name in $(setup_pinned targets); do
        [ -d "$setup_sysroot/lib/rustlib/$setup_name/lib" ] || return
    done
    set -- "$setup_sysroot"/lib/rustlib/*/bin/llvm-objdump
    [ -x "$1" ] || ! command -v rustup >/dev/null 2>&1
}

setup_has_linker() {
    case $(uname -s) in
        Darwin) xcode-select -p >/dev/null 2>&1 ;; # cc is there always; without the tools it opens a dialog
        *) command -v cc >/dev/null 2>&1 && [ "$(cc -print-file-name=crt1.o)" != crt1.o ] ;;
    esac
}

setup_has_certificates() { # asked only when the registry or rustup must be reached
    cat "${SSL_CERT_FILE:-/}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem \
        /etc/ssl/cert.pem 2>/dev/null | grep -q 'BEGIN CERTIFICATE'
}

setup_has_qemu() { # EL2 with a fixed device tree on the virt machine is all that the tests need
    "$setup_qemu" -M virt,help 2>/dev/null </dev/null | grep -q dtb-randomness
}

setup_has_spin() { # the model checker; other programs have the name too
    spin -V 2>/dev/null </dev/null | grep -q '^Spin Version' && command -v cc >/dev/null 2>&1
}

setup_has_fat() { # what looks at file systems of cards; Debian keeps it out of a user's path
    case :$PATH: in *:/sbin:*) ;; *) PATH=$PATH:/usr/sbin:/sbin ;; esac
    command -v fsck.fat >/dev/null 2>&1 && command -v mcopy >/dev/null 2>&1
}

setup_qemu_mark() { echo "$(command -v "$setup_qemu"), $("$setup_qemu" --version 2>/dev/null | head -n 1)"; }

setup_has_rpi4() { # the scenarios of that board can do without; QEMU has it since 9.0
    "$setup_qemu" -M help 2>/dev/null </dev/null | grep -q '^raspi4b '
}
