# shellcheck shell=sh
# The plan: what is missing, and the command that installs it on this system; one place per distribution and per package.
# Sourced by scripts/setup.sh after the probes. Runs none of the commands.

# shellcheck disable=SC2154 # setup_qemu is of probe.sh

setup_cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/strato
setup_source=/etc/apt/sources.list.d/strato-bookworm-backports.list
setup_tab=$(printf '\t')
setup_pass=1 # 2: the first choice of a package or source did not work

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
    setup_package=qemu-system-arm setup_why='QEMU for AArch64'
    command -v "$setup_qemu" >/dev/null 2>&1 && setup_why="a newer $setup_why than $(setup_qemu_mark)"
    if [ "$setup_manager $setup_codename $setup_pass" = 'apt-get bookworm 1' ]; then
        # Debian 12 has QEMU 7.2; its backports have 10, which the figures are measured with. A second source for them would only warn.
        setup_package='-t bookworm-backports qemu-system-arm'
        apt-get indextargets --format "\$(RELEASE)" 2>/dev/null | grep -qx bookworm-backports ||
            setup_add 'the Debian 12 backports as a package source' "echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm-backports main' | ${setup_sudo}tee $setup_source"
    fi
    setup_add_packages "$setup_why" "$setup_package" qemu-system-aarch64-core qemu-system-aarch64 qemu-arm qemu
}

setup_plan_spin() { # scripts/test can do without: one try, where the package is known and can be installed
    [ "${setup_wants_spin:-}$setup_manager$setup_pass" = yesapt-get1 ] || return 0
    [ -z "$setup_sudo" ] || command -v sudo >/dev/null 2>&1 || return 0
    setup_has_spin || setup_add_packages 'spin, the model checker' spin '' '' '' ''
}

setup_plan_fat() { # as spin: scripts/test can do without
    [ "${setup_wants_fat:-}$setup_manager$setup_pass" = yesapt-get1 ] || return 0
    [ -z "$setup_sudo" ] || command -v sudo >/dev/null 2>&1 || return 0
    setup_has_fat || setup_add_packages 'fsck.fat and mtools, which read the cards that are written' 'dosfstools mtools' '' '' '' ''
}

setup_plan_host() { # the linker, and what a download needs
    if ! setup_has_linker; then
        case $(uname -s) in
            Darwin) setup_add 'a C linker' 'xcode-select --install' ;;
            *) setup_add_packages 'a C linker' 'gcc libc6-dev' gcc gcc gcc gcc ;;
        esac
    fi
    if ! setup_has_rust || ! [ -d "${CARGO_HOME:-${HOME:-}/.cargo}/registry" ]; then
        setup_name=ca-certificates
        setup_has_certificates || setup_add_packages certificates $setup_name $setup_name $setup_name $setup_name $setup_name
        command -v curl >/dev/null 2>&1 || command -v rustup >/dev/null 2>&1 || setup_add_packages curl curl curl curl curl curl
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
        setup_init=$setup_cache/rustup-init.sh
        setup_add 'rustup, by its official installer' "curl --proto '=https' --tlsv1.2 --retry 3 -sSf -o $setup_init https://static.rust-lang.org/rustup/rustup-init.sh && sh $setup_init -y --no-modify-path --default-toolchain none"
    fi
    # Installing a toolchain that is there would replace all of it, under a build that may be running: add to it instead.
    setup_words=$(setup_pinned components) setup_more=$(setup_pinned targets) setup_name=$(setup_toolchain)
    if command -v rustup >/dev/null 2>&1 && setup_find_sysroot; then
        setup_add "parts of Rust $setup_name" "rustup component add --toolchain $setup_name $setup_words"
        setup_add "bare-metal targets of Rust $setup_name" "rustup target add --toolchain $setup_name $setup_more"
    else
        # shellcheck disable=SC2086 # words
        setup_words=$(printf -- ' --component %s' $setup_words && printf -- ' --target %s' $setup_more)
        setup_add "Rust $setup_name with its targets" \
            "rustup toolchain install $setup_name --profile minimal --no-self-update$setup_words"
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
    setup_plan_spin
    setup_plan_fat
    setup_has_rust || setup_plan_rust
}
