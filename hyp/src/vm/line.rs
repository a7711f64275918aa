//! Line: the virtual interrupt of a vCPU that is resident on this core, by what its sink says.

use super::Vm;
use crate::arch::guest;
use crate::sync::Ordering;
use crate::vcpu::Vcpu;

impl Vm {
    /// Sets the virtual interrupt of `vcpu`, which is resident on this core, to what its line says.
    #[inline]
    pub fn refresh_line(&self, vcpu: &Vcpu) {
        let public = &vcpu.public;
        if public.has_upcalls.load(Ordering::Relaxed) {
            guest::set_line(public.sink.line().load(Ordering::Acquire));
        } else {
            guest::clear_line();
        }
    }

    /// Sets the virtual interrupt of `vcpu`, which this core goes over to with none, to what its line says.
    #[inline(always)]
    pub fn raise_line(&self, vcpu: &Vcpu) {
        debug_assert!(!guest::is_line_up(), "whoever gives the core up takes its own away");
        let public = &vcpu.public;
        if public.has_upcalls.load(Ordering::Relaxed) {
            guest::set_line(public.sink.line().load(Ordering::Acquire));
        }
    }

    /// Takes the virtual interrupt of `vcpu`, resident on this core, away after its selector was taken; an event that came
    /// since raises it again.
    #[inline]
    pub fn lower_line(&self, vcpu: &Vcpu) {
        if vcpu.public.has_upcalls.load(Ordering::Relaxed) {
            self.refresh_line(vcpu);
        }
    }
}
