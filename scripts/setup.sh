# shellcheck shell=sh
# Set-up: finds or installs what Strato needs: Rust with both bare-metal targets, a C linker for the host, QEMU.
# Sourced by scripts/run and scripts/test at the root of the repository. It asks the programs what they can do, edits no
# shell profile, and touches no network when nothing is missing. What is installed is written to stderr first.
#
#   STRATO_SETUP=        install what is missing; on a terminal, ask once before it
#   STRATO_SETUP=auto    the same, never ask
#   STRATO_SETUP=check   list everything that is missing with the command that installs it; exit 69 if there is any
#   STRATO_SETUP=off     look at nothing
#   STRATO_QEMU=path     use this qemu-system-aarch64 and leave the installed one alone
#   STRATO_NEED=host     no QEMU and no target is needed (scripts/test --quick)

setup_cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/strato
setup_tab=$(printf '\t')

setup_say() { printf 'setup: %s\n' "$*" >&2; }

setup_stop() { # the one way out when something is missing: sysexits EX_UNAVAILABLE
    setup_say "$@"
    exit 69
}

# One value, or one list as words, of rust-toolchain.toml: the only place that names the toolchain.
setup_pinned() { sed -n "s/^$1 *= *//p" rust-toolchain.toml | tr -d '[]",'; }

# --- probes: each answers one question, fast and offline --------------------------------------------------------------

setup_path() { # makes rustup's programs reachable when the shell profile did not, and prefers them to the system's Rust
    for setup_dir in "${CARGO_HOME:-${HOME:-}/.cargo}/bin" /opt/homebrew/opt/rustup/bin /usr/local/opt/rustup/bin; do
        if [ -x "$setup_dir/rustup" ] && [ -x "$setup_dir/cargo" ]; then
            [ "$(command -v cargo)" = "$setup_dir/cargo" ] || PATH=$setup_dir:$PATH
            break
        fi
    done
    export PATH
}

setup_has_rust() { # the folders decide: cargo itself starts without a target and fails late, with E0463
    command -v cargo >/dev/null 2>&1 || return 1
    setup_sysroot=$(RUSTUP_AUTO_INSTALL=0 rustc --print sysroot 2>/dev/null) || return 1
    [ -x "$setup_sysroot/bin/cargo-clippy" ] && [ -x "$setup_sysroot/bin/cargo-fmt" ] || return 1
    [ "${STRATO_NEED:-}" = host ] && return 0
    for setup_target in $(setup_pinned targets); do
        [ -d "$setup_sysroot/lib/rustlib/$setup_target/lib" ] || return 1
    done
    if command -v rustup >/dev/null 2>&1; then
        set -- "$setup_sysroot"/lib/rustlib/*/bin/llvm-objdump
        [ -x "$1" ] || return 1
    else # a distribution's Rust: it does not read rust-toolchain.toml, so its version is compared
        setup_version=$(rustc --version | awk '{ sub(/-.*/, "", $2); print $2 }')
        printf '%s\n' "$(setup_pinned channel)" "$setup_version" | sort -C -V || return 1
    fi
}

setup_has_linker() {
    case $(uname -s) in
        Darwin) xcode-select -p >/dev/null 2>&1 ;; # cc is there always; without the tools it opens a dialog
        *) command -v cc >/dev/null 2>&1 && [ "$(cc -print-file-name=crt1.o)" != crt1.o ] ;;
    esac
}

setup_has_certificates() { # asked only when the registry or rustup must be reached
    for setup_file in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt \
        /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem; do
        [ -n "$setup_file" ] && [ -r "$setup_file" ] && return 0
    done
    return 1
}

setup_qemu() { printf '%s' "${STRATO_QEMU:-qemu-system-aarch64}"; }

setup_has_qemu() { # EL2 with a fixed device tree on the virt machine is all that the tests need
    "$(setup_qemu)" -M virt,help 2>/dev/null </dev/null | grep -q dtb-randomness
}

setup_has_pi() { "$(setup_qemu)" -M help 2>/dev/null </dev/null | grep -q '^raspi4b '; }

# --- plan: what is missing, and the command for each ------------------------------------------------------------------

setup_system() { # the distribution, its package manager, and the prefix that makes a command run as root
    setup_id='' setup_codename='' setup_release=0 setup_manager=none
    if [ -r /etc/os-release ]; then
        setup_id=$(sed -n 's/^ID=//p' /etc/os-release | tr -d '"')
        setup_codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release | tr -d '"')
        setup_release=$(sed -n 's/^VERSION_ID="*\([0-9]*\).*/\1/p' /etc/os-release)
    fi
    for setup_name in brew zypper pacman dnf apt-get; do
        command -v "$setup_name" >/dev/null 2>&1 && setup_manager=$setup_name
    done
    setup_sudo='sudo '
    [ -t 0 ] || setup_sudo='sudo -n '
    [ "$(id -u)" = 0 ] && setup_sudo=''
    return 0
}

setup_add() { # one line of the plan: what it is for, the command
    setup_plan="$setup_plan$1$setup_tab$2
"
}

setup_add_packages() { # what it is for; the package names for apt, dnf, pacman, zypper, brew
    case $setup_manager in
        apt-get)
            [ "$setup_listed" = yes ] || setup_add 'the package lists' "${setup_sudo}apt-get -qq -o Acquire::Retries=3 update"
            setup_listed=yes
            setup_add "$1" "${setup_sudo}env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 install -y --no-install-recommends $2"
            ;;
        dnf) setup_add "$1" "${setup_sudo}dnf install -y $3" ;;
        pacman) setup_add "$1" "${setup_sudo}pacman -S --needed --noconfirm $4" ;;
        zypper) setup_add "$1" "${setup_sudo}zypper --non-interactive install $5" ;;
        brew) setup_add "$1" "brew install $6" ;;
        none) setup_add "$1" "false # no known package manager here: install these by hand: $2" ;;
    esac
}

setup_plan_qemu() {
    setup_package=qemu-system-arm
    if [ "$setup_manager $setup_codename $setup_pass" = 'apt-get bookworm 1' ]; then
        # Debian 12 has QEMU 7.2, without the Pi 4; its backports have 10. A second source for them would only warn.
        setup_package='-t bookworm-backports qemu-system-arm'
        apt-get indextargets --format "\$(RELEASE)" 2>/dev/null | grep -qx bookworm-backports ||
            setup_add 'the Debian 12 backports as a package source' "echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm-backports main' | ${setup_sudo}tee $setup_source"
    fi
    setup_add_packages 'QEMU for AArch64' "$setup_package" qemu-system-aarch64-core qemu-system-aarch64 qemu-arm qemu
}

setup_plan_host() { # the linker, and what a download needs
    if ! setup_has_linker; then
        case $(uname -s) in
            Darwin) setup_add 'a C linker' 'xcode-select --install' ;;
            *) setup_add_packages 'a C linker' 'gcc libc6-dev' gcc gcc gcc gcc ;;
        esac
    fi
    if ! setup_has_rust || ! [ -d "${CARGO_HOME:-${HOME:-}/.cargo}/registry" ]; then
        for setup_name in ca-certificates curl; do
            case $setup_name in
                curl) command -v curl >/dev/null 2>&1 || command -v rustup >/dev/null 2>&1 ;;
                *) setup_has_certificates ;;
            esac || setup_add_packages "$setup_name" "$setup_name" "$setup_name" "$setup_name" "$setup_name" "$setup_name"
        done
    fi
}

setup_plan_rust() {
    if command -v rustup >/dev/null 2>&1; then
        :
    elif [ "$setup_pass" = 1 ] && ! command -v rustc >/dev/null 2>&1 &&
        case $setup_manager-$setup_id in
            brew-*) true ;;
            apt-get-debian) [ "${setup_release:-0}" -ge 13 ] ;;
            apt-get-ubuntu) [ "${setup_release:-0}" -ge 24 ] ;;
            *) false ;;
        esac; then
        setup_add_packages 'rustup' rustup '' '' '' rustup
    else # -y also accepts a Rust of the system beside it; setup_path then prefers rustup's, for this run only
        setup_add 'rustup, by its official installer' "curl --proto '=https' --tlsv1.2 --retry 3 -sSf https://sh.rustup.rs | sh -s -- -y --no-modify-path --default-toolchain none"
    fi
    # Installing a toolchain that is there would replace all of it, under a build that may be running: add to it instead.
    setup_words=$(setup_pinned components) setup_more=$(setup_pinned targets) setup_name=${RUSTUP_TOOLCHAIN:-$(setup_pinned channel)}
    if RUSTUP_AUTO_INSTALL=0 rustc --print sysroot >/dev/null 2>&1 && command -v rustup >/dev/null 2>&1; then
        setup_add "parts of Rust $setup_name" "rustup component add --toolchain $setup_name $setup_words"
        setup_add "bare-metal targets of Rust $setup_name" "rustup target add --toolchain $setup_name $setup_more"
    else
        # shellcheck disable=SC2086 # words
        setup_words=$(printf -- '--component %s ' $setup_words && printf -- '--target %s ' $setup_more)
        setup_add "Rust $setup_name with its targets" \
            "rustup toolchain install $setup_name --profile minimal --no-self-update $setup_words"
    fi
}

setup_look() { # the plan that makes this machine ready; empty when it is
    setup_plan='' setup_listed=no
    setup_path
    setup_system
    if [ "${STRATO_NEED:-}" != host ] && ! setup_has_qemu; then
        [ -z "${STRATO_QEMU:-}" ] ||
            setup_stop "STRATO_QEMU=$STRATO_QEMU does not run, or is older than QEMU 7.2. Correct it, or unset it."
        setup_plan_qemu
    fi
    setup_plan_host
    setup_has_rust || setup_plan_rust
}

# --- run: say it, do it, look again -----------------------------------------------------------------------------------

setup_show() { # the plan in words, one command a line
    printf '%s' "$setup_plan" | while IFS=$setup_tab read -r setup_why setup_command; do
        printf '  %s:\n    %s\n' "$setup_why" "$setup_command" >&2
    done
}

setup_agreed() { # asks only a person at a terminal who has not chosen a mode
    [ -z "${STRATO_SETUP:-}" ] && [ -t 0 ] && [ -t 2 ] || return 0
    printf 'setup: run these commands? [Y/n] ' >&2
    read -r setup_reply || setup_reply=no
    case $setup_reply in '' | [Yy]*) return 0 ;; *) return 1 ;; esac
}

setup_run() { # a step that fails is tried once more; the next look, not its status, decides what is missing
    printf '%s' "$setup_plan" | while IFS=$setup_tab read -r setup_why setup_command; do
        setup_path # the step before may have brought rustup
        setup_say "$setup_why: $setup_command"
        for setup_try in first second; do
            sh -c "$setup_command" >&2 </dev/null && break
            [ "$setup_try" = first ] || { setup_say "failed twice, going on: $setup_command" && break; }
            setup_say 'failed, trying once more' && sleep 3
        done
    done
    # A source that this mirror does not have would make every later apt-get update of the machine fail.
    if [ -e "$setup_source" ] && ! apt-cache policy | grep -q bookworm-backports; then
        setup_say "no backports to be had: taking $setup_source away again"
        sh -c "${setup_sudo}rm -f $setup_source" >&2
    fi
}

setup_locked() { # runs "$@" while no other set-up of this user does; a lock whose owner is gone does not count
    mkdir -p "$setup_cache" 2>/dev/null
    [ -w "$setup_cache" ] || { setup_cache=${TMPDIR:-/tmp}/strato-$(id -u) && mkdir -p "$setup_cache"; }
    setup_waited=0
    until mkdir "$setup_cache/lock" 2>/dev/null; do
        setup_owner=$(cat "$setup_cache/lock/pid" 2>/dev/null)
        if [ "$setup_waited" -ge 3 ] && ! kill -0 "${setup_owner:-none}" 2>/dev/null; then
            rm -rf "$setup_cache/lock"
            continue
        fi
        [ "$setup_waited" = 0 ] && setup_say "waiting for another set-up (process ${setup_owner:-unknown})"
        [ "$setup_waited" -lt 1800 ] || setup_stop "still not done; if no set-up runs, remove $setup_cache/lock"
        sleep 1
        setup_waited=$((setup_waited + 1))
    done
    (
        trap 'rm -rf "$setup_cache/lock"' EXIT
        trap 'exit 130' HUP INT TERM
        echo $$ >"$setup_cache/lock/pid"
        "$@"
    ) || exit
}

setup_close_gaps() { # pass 2 repeats what failed, with the second choice where there is one
    for setup_pass in 1 2; do
        setup_look # again: another set-up may have done it all while this one waited
        [ -z "$setup_plan" ] || setup_run
    done
}

setup_qemu_mark() { echo "$(command -v "$(setup_qemu)"), $("$(setup_qemu)" --version | head -n 1)"; }

setup_wish_for_pi() { # a QEMU that is usable but has no Pi 4: one try to better it, then the answer is remembered
    setup_memory=$setup_cache/qemu-without-pi
    if setup_has_pi || [ "$(cat "$setup_memory" 2>/dev/null)" = "$(setup_qemu_mark)" ]; then return; fi
    setup_say "$(setup_qemu_mark) has no raspi4b machine: only the tests for the Raspberry Pi 4 need it, and are skipped"
    setup_plan='' setup_listed=no
    if [ "$setup_codename$setup_pass${STRATO_QEMU:-}" = bookworm1 ]; then
        setup_plan_qemu
        setup_say 'a newer one can be had:'
        setup_show
    fi
    [ "${STRATO_SETUP:-}" = check ] && return
    if [ -n "$setup_plan" ] && setup_agreed; then setup_locked setup_run; fi
    mkdir -p "$setup_cache" 2>/dev/null && setup_qemu_mark >"$setup_memory"
}

setup_main() {
    [ -r rust-toolchain.toml ] || setup_stop 'start this at the root of the repository'
    setup_source=/etc/apt/sources.list.d/strato-bookworm-backports.list
    setup_pass=1
    setup_look
    if [ -n "$setup_plan" ]; then
        setup_say 'this machine lacks something that Strato needs. What, and the command that installs it:'
        setup_show
        [ "${STRATO_SETUP:-}" = check ] && exit 69
        case $setup_plan in *"${setup_tab}sudo "* | *'| sudo '*)
            command -v sudo >/dev/null 2>&1 || setup_stop 'there is no sudo here: run these commands as root, then start again' ;;
        esac
        setup_agreed || setup_stop 'nothing was installed. Run the commands yourself, or set STRATO_QEMU to a QEMU of your own'
        setup_locked setup_close_gaps
        setup_pass=2
        setup_look
        if [ -n "$setup_plan" ]; then
            setup_say 'still missing (the messages above say why):'
            setup_show
            command -v "$(setup_qemu)" >/dev/null 2>&1 && ! setup_has_qemu &&
                setup_say "$("$(setup_qemu)" --version | head -n 1) is too old: 7.2 or newer is needed. Install one from" \
                    'Homebrew (brew install qemu) or Nix (nix profile install nixpkgs#qemu), and set STRATO_QEMU to its path'
            setup_stop 'run these commands by hand, then start again; STRATO_SETUP=check lists what is left'
        fi
        setup_say 'done: nothing is missing now'
    fi
    [ "${STRATO_NEED:-}" = host ] || setup_wish_for_pi
    if [ "${STRATO_SETUP:-}" = check ]; then
        setup_say 'nothing that Strato needs is missing'
        exit 0
    fi
}

case ${STRATO_SETUP:-} in
    '' | auto | check) setup_main ;;
    off) setup_path ;;
    *)
        setup_say "STRATO_SETUP=$STRATO_SETUP is none of auto, check, off"
        exit 64
        ;;
esac
