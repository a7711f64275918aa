//! Ports: their words, and which handles lead to them.

use super::*;

const END: End = End { vm: 63, incarnation: 0x3fff_ffff, port: 1023 };

fn port() -> Port {
    Port { word: AtomicU64::new(0), binding: AtomicU64::new(0) }
}

#[test]
fn a_port_keeps_state_place_incarnation_and_handle() {
    let handle = Handle::new(7, 0xabcd);
    for link in [Link::Free, Link::Offered(END), Link::Connected(END), Link::PeerGone] {
        let port = port();
        port.open(handle, 5, link);
        let seen = port.read();
        assert_eq!((port.link(seen), seen.handle(), port.binding().vcpu()), (link, handle, 5));
        assert_eq!(seen.is_of(handle), link != Link::Free);
        for other in [Handle::new(7, 0xabcc), Handle::new(7, 0x2bcd), Handle::new(263, 0xabcd)] {
            assert!(!seen.is_of(other) && seen.far_end(u64::from(other.bits())).is_none());
        }
        let is_connected = matches!(link, Link::Connected(_));
        let far = seen.far_end(u64::from(handle.bits()));
        assert_eq!(far.map(|far| (far.vm(), far.port())), is_connected.then_some((63, 1023)));
        assert!(far.is_none_or(|far| far.index() & 1023 == 1023));
        assert!(seen.far_end(1 << 32 | u64::from(handle.bits())).is_none(), "bits above the handle are refused");
    }
}

#[test]
fn a_binding_changes_the_vcpu_and_keeps_whose_port_it_is() {
    let port = port();
    port.open(Handle::new(7, 1), 0, Link::Offered(END));
    port.bind(3);
    assert_eq!((port.binding().vcpu(), port.link(port.read())), (3, Link::Offered(END)));
}

#[test]
fn a_link_that_changed_meanwhile_is_left_alone() {
    let port = port();
    port.open(Handle::new(7, 1), 0, Link::PeerGone);
    let seen = port.read();
    port.open(Handle::new(7, 2), 0, Link::Free);
    assert!(!port.change(seen, Link::PeerGone));
    assert_eq!(port.link(port.read()), Link::Free);
}

#[test]
fn memory_that_was_never_used_is_a_port_of_no_handle_that_leads_to_it() {
    let (first, other) = (port(), port());
    first.close_first();
    for generation in [0, 1, 0x8000, 0xffff] {
        for index in [0, 2, 3, 255, 256, 1023, 1024, 0xffff] {
            let handle = Handle::new(index, generation);
            let port = if index & 1023 == 0 || index & 255 == 0 { &first } else { &other };
            assert!(port.read().far_end(u64::from(handle.bits())).is_none() && !port.read().is_of(handle));
        }
    }
}

#[test]
fn a_port_that_is_not_connected_is_found_by_its_neighbors_handle_alone_which_leads_elsewhere() {
    for link in [Link::Free, Link::Offered(END), Link::PeerGone] {
        let port = port();
        port.open(Handle::new(6, 9), 0, link);
        for index in (0..=0xffff).filter(|index| index & 1023 == 6 || index & 255 == 6) {
            assert!(port.read().far_end(u64::from(Handle::new(index, 9).bits())).is_none());
        }
    }
}
