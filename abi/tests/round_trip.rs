//! Round trips: every call's arguments and results survive the way through the registers, in both directions.

use std::fmt::Debug;

use strato_abi::call::{self, Call};
use strato_abi::error::{Code, Detail, Error};
use strato_abi::regs::Reader;
use strato_abi::{Regs, Reply, Request, for_each_call};

/// Rounds for each call; small numbers are frequent, so that enums and flags decode often.
const ROUNDS: u32 = 10_000;

/// A deterministic source of numbers (Marsaglia's xorshift64), biased to what breaks decoders.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn argument(&mut self) -> u64 {
        let (shape, value) = (self.next() % 16, self.next());
        match shape {
            0..=5 => value % 8,
            6..=8 => value >> 32,
            9..=11 => value >> 25,
            12 => 1 << (value % 64),
            13 => u64::MAX - value % 4,
            14 => (1 << (value % 64)) - 1,
            _ => value,
        }
    }

    fn registers(&mut self) -> Regs {
        std::array::from_fn(|_| self.argument())
    }
}

/// Checks one call; returns how many random requests decoded.
fn check_call<R>(call: Call) -> u32
where
    R: Request + Debug + PartialEq,
    R::Reply: Debug + PartialEq,
{
    assert_eq!(R::CALL, call);
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ u64::from(call.function_id()));
    let (mut decoded, mut answered) = (0, 0);
    for _ in 0..ROUNDS {
        let regs = numbers.registers();
        match R::from_regs(&regs) {
            Ok(request) => {
                decoded += 1;
                check_request(&request, &regs);
            }
            Err(error) => check_refusal::<R>(call, error, &regs),
        }
        match R::Reply::from_regs(&regs) {
            Ok(reply) => {
                answered += 1;
                check_reply(&reply, &regs);
            }
            Err(register) => assert!((1..=R::Reply::REGS).contains(&register), "{call:?} names x{register}"),
        }
    }
    assert!(answered > 0, "{call:?}: no random reply decoded");
    decoded
}

/// A decoded request writes back exactly the registers it was read from, zero elsewhere, and decodes to itself.
fn check_request<R: Request + Debug + PartialEq>(request: &R, regs: &Regs) {
    let back = request.to_regs();
    for (at, (now, was)) in back.iter().zip(regs).enumerate() {
        assert!(*now == *was || *now == 0, "{request:?}: x{} was {was:#x} and came back as {now:#x}", at + 1);
    }
    assert_eq!(R::from_regs(&back).as_ref(), Ok(request));
}

/// A refusal names a register of the call, and with a zero there the refusal goes away or moves on.
fn check_refusal<R: Request + Debug + PartialEq>(call: Call, error: Error, regs: &Regs) {
    let argument = error.detail.argument();
    assert!((1..=15).contains(&argument), "{call:?}: {error:?}");
    assert!(matches!(error.code, Code::Invalid | Code::BadAddress), "{call:?}: {error:?}");
    assert!(error.detail.reason().is_some(), "{call:?}: {error:?}");
    let mut mended = *regs;
    mended.iter_mut().skip(argument - 1).take(1).for_each(|word| *word = 0);
    match R::from_regs(&mended) {
        Ok(request) => check_request(&request, &mended),
        Err(next) => assert!(next.detail.argument() > argument, "{call:?}: {error:?} then {next:?}"),
    }
}

/// A decoded reply keeps to its registers and leaves the others zero.
fn check_reply<P: Reply + Debug + PartialEq>(reply: &P, regs: &Regs) {
    let back = reply.to_regs();
    let (results, others) = back.split_at(P::REGS);
    assert!(regs.starts_with(results), "{reply:?}: {results:?} from {regs:?}");
    assert!(others.iter().all(|word| *word == 0), "{reply:?} writes beyond its registers");
    assert_eq!(P::from_regs(&back).as_ref(), Ok(reply));
}

#[test]
fn every_call_survives_the_way_through_the_registers_both_ways() {
    macro_rules! check {
        ($($name:ident),*) => { $(
            let decoded = check_call::<call::$name>(Call::$name);
            assert!(decoded > ROUNDS / 200, "{}: only {decoded} random requests decoded", Call::$name.name());
        )* };
    }
    for_each_call!(check);
}

#[test]
fn every_argument_is_written_to_a_register_of_its_own() {
    macro_rules! check {
        ($($name:ident),*) => { $(
            // Registers that make a difference, in order, are exactly those of the arguments: nothing unread, nothing shared.
            let zero = <call::$name>::from_regs(&[0; 15]).unwrap();
            let read: Vec<usize> = (0..15).filter(|at| {
                let mut regs = [0; 15];
                regs[*at] = 1;
                <call::$name>::from_regs(&regs).as_ref() != Ok(&zero)
            }).collect();
            let names = Call::$name.arguments();
            let expected = if names.contains(&"data") { 15 } else { names.len() };
            assert_eq!(read, (0..expected).collect::<Vec<_>>(), "{}", Call::$name.name());
        )* };
    }
    for_each_call!(check);
}

#[test]
fn no_argument_needs_a_register_beyond_x6_but_console_data() {
    for call in Call::ALL {
        assert!(call.arguments().len() <= 6, "{}", call.name());
        assert!(!call.arguments().contains(&"data") || *call == Call::ConWrite, "{}", call.name());
    }
}

#[test]
fn every_function_id_leads_back_to_its_call_and_no_other_does() {
    let mut found = 0;
    for id in 0xc600_0000..=0xc600_ffff_u32 {
        if let Some(call) = Call::from_function_id(id) {
            found += 1;
            assert_eq!(call.function_id(), id);
            assert_eq!(Call::from_function_id(id | 1 << 16), Some(call), "the SVE hint says nothing");
            assert_eq!(call.op(), id & 31);
        }
    }
    assert_eq!(found, Call::ALL.len());
    let other_owners =
        [0x8600_0000, 0x8600_ff01, 0xc400_0003, 0x8400_0000, 0xc500_0000, 0x4600_0000, 0xc602_0000, 0, u32::MAX];
    for id in other_owners {
        assert_eq!(Call::from_function_id(id), None, "{id:#x}");
    }
}

#[test]
fn every_error_survives_the_way_through_x0_and_x1() {
    for code in Code::ALL {
        for argument in 0..16 {
            for reason in (0..=255).filter_map(strato_abi::Reason::from_u8) {
                for quantity in [0, 1, 112, 1 << 39, (1 << 48) - 1] {
                    let error = Error::of(*code, argument, reason, quantity);
                    let (x0, x1) = ((error.code as i64).cast_unsigned(), error.detail.bits());
                    let detail = Detail::from_bits(x1);
                    assert_eq!(Code::from_i64(x0.cast_signed()), Some(*code));
                    assert_eq!(detail.argument(), usize::from(argument));
                    assert_eq!((detail.reason(), detail.quantity()), (Some(reason), quantity));
                    assert_eq!(x1 & 0xf0, 0, "bits 7:4 of the detail word are zero");
                }
            }
        }
    }
}

#[test]
fn an_argument_of_several_registers_keeps_the_next_one_off_its_own() {
    let regs = [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut reader = Reader::new(&regs);
    assert_eq!(reader.take::<[u64; 3]>(), Ok([1, 2, 3]));
    assert_eq!(reader.take::<u32>(), Ok(4));
}
