//! CORE: discovery and the end of a VM.

use strato_abi::addr::INFO_PAGE;
use strato_abi::call::{
    CoreExit, CoreExitReply, CoreGroup, CoreGroupReply, CoreInfo, CoreInfoReply, CoreLimit, CoreLimitReply, CoreNop,
    CoreNopReply, CorePanic, CorePanicReply,
};
use strato_abi::core::ExitKind;
use strato_abi::error::{Code, Reason};
use strato_abi::limit::LimitKey;
use strato_abi::version::ABI_VERSION;
use strato_abi::{Group, Ipa};

use super::{CallError, Handle, Handler, Outcome, Short, reply};
use crate::machine::{Cx, Next};

impl Handle for CoreInfo {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<CoreInfoReply>, CallError> {
        let info_page = Ipa::new(INFO_PAGE).ok_or(CallError::bare(Code::Internal))?;
        Ok(Outcome::Reply(CoreInfoReply {
            abi_version: ABI_VERSION,
            build_id: cx.machine.plan.header.build_id,
            vm_vcpu: u64::from(cx.me.vm()) << 32 | u64::from(cx.me.vcpu()),
            info_page,
        }))
    }
}

impl Handle for CoreGroup {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<CoreGroupReply>, CallError> {
        let group =
            Group::from_number(self.group).ok_or(CallError::of(Code::NotSupported, 1, Reason::UnknownValue, 0))?;
        let (major, minor) = group.version();
        Ok(Outcome::Reply(CoreGroupReply {
            version: u32::from(major) << 16 | u32::from(minor),
            calls: cx.vm.calls_of(group),
        }))
    }
}

impl Handle for CoreLimit {
    fn handle(self, _: &mut Cx<'_>) -> Result<Outcome<CoreLimitReply>, CallError> {
        let key = LimitKey::from_u64(self.key).ok_or(CallError::of(Code::Invalid, 1, Reason::UnknownValue, 0))?;
        Ok(Outcome::Reply(CoreLimitReply { value: key.value() }))
    }
}

impl Handle for CoreNop {
    const ANSWERERS: [Handler; 2] = reply::short::<Self>();

    #[inline(always)]
    fn short<'s>(_: &[u64; 6], cx: &mut Cx<'s>) -> Short<'s, CoreNopReply> {
        Short::Done(count_nop(cx))
    }

    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<CoreNopReply>, CallError> {
        Ok(count_nop(cx))
    }
}

#[inline(always)]
fn count_nop(cx: &mut Cx<'_>) -> Outcome<CoreNopReply> {
    cx.context.nops = cx.context.nops.wrapping_add(1);
    Outcome::Reply(CoreNopReply { counter: cx.context.nops })
}

impl Handle for CorePanic {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<CorePanicReply>, CallError> {
        let Self { reason, pc, esr, far } = self;
        cx.cpu.keep([reason, pc, esr, far]);
        Ok(Outcome::Leave(Next::Crash))
    }
}

impl Handle for CoreExit {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<CoreExitReply>, CallError> {
        match self.kind {
            ExitKind::Off => Ok(Outcome::Leave(Next::Exit(self.code))),
            ExitKind::Reboot if cx.vm.rule.may_ask() => Ok(Outcome::Leave(Next::Reboot)),
            ExitKind::Reboot => Err(CallError::of(Code::Denied, 2, Reason::NotAllowed, 0)),
        }
    }
}
