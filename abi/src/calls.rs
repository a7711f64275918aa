//! What a row of the table of calls becomes: an entry of the enum, a request and a reply, a name. `call` has the table.

macro_rules! calls {
    (($d:tt) $(
        $(#[$doc:meta])*
        $name:ident = ($group:ident, $op:literal) $text:literal
            ( $($arg:ident: $arg_type:ty),* ) -> $reply:ident ( $($res:ident: $res_type:ty),* );
    )*) => {
        /// A hypercall. Exhaustive on purpose: a new call must break hypervisor, guest library and specification test.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Call { $( $(#[$doc])* $name = (Group::$group as u16) << 5 | $op, )* }

        impl Call {
            /// Every call in the order of the specification.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the call of `group << 5 | op`, or `None` when none was ever defined there.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                $( if number == Self::$name as u16 { return Some(Self::$name); } )*
                None
            }

            /// Returns the name as the specification, logs and errors write it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }

            /// Returns the names of the arguments in the order of x1, x2, ...
            #[must_use]
            pub const fn arguments(self) -> &'static [&'static str] {
                match self { $( Self::$name => &[$(stringify!($arg)),*], )* }
            }

            /// Returns the names of the results in the order of x1, x2, ...
            #[must_use]
            pub const fn results(self) -> &'static [&'static str] {
                match self { $( Self::$name => &[$(stringify!($res)),*], )* }
            }

            /// Returns the group that the call belongs to.
            #[must_use]
            pub const fn group(self) -> Group {
                match self { $( Self::$name => Group::$group, )* }
            }
        }

        $(
            #[doc = concat!("Arguments of ", $text, ".")]
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $name {
                $( #[doc = concat!("Argument `", stringify!($arg), "` of ", $text, ".")] pub $arg: $arg_type, )*
            }

            #[doc = concat!("Results of ", $text, ".")]
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $reply {
                $( #[doc = concat!("Result `", stringify!($res), "` of ", $text, ".")] pub $res: $res_type, )*
            }

            impl Request for $name {
                const CALL: Call = Call::$name;
                type Reply = $reply;

                #[inline(always)]
                fn to_regs(&self) -> Regs {
                    let mut regs = [0; 15];
                    #[allow(unused_mut, unused_variables, reason = "a call without arguments writes nothing")]
                    let mut writer = Writer::new(&mut regs);
                    $( writer.put(&self.$arg); )*
                    regs
                }

                #[inline(always)]
                fn from_regs(regs: &[u64]) -> Result<Self, Error> {
                    #[allow(unused_mut, unused_variables, reason = "a call without arguments reads nothing")]
                    let mut reader = Reader::new(regs);
                    Ok(Self { $( $arg: reader.take::<$arg_type>().map_err(|(n, why, limit)| regs::refused(n, why, limit))?, )* })
                }
            }

            impl Reply for $reply {
                const REGS: usize = 0 $( + <$res_type as Argument>::REGS )*;

                #[inline(always)]
                fn put(&self, regs: &mut [u64]) {
                    #[allow(unused_mut, unused_variables, reason = "a call without results writes nothing")]
                    let mut writer = Writer::new(regs);
                    $( writer.put(&self.$res); )*
                }

                #[inline(always)]
                fn from_regs(regs: &Regs) -> Result<Self, usize> {
                    #[allow(unused_mut, unused_variables, reason = "a call without results reads nothing")]
                    let mut reader = Reader::new(regs);
                    Ok(Self { $( $res: reader.take::<$res_type>().map_err(|(n, _, _): (usize, Reason, u64)| n)?, )* })
                }
            }
        )*

        /// Hands the names of all calls, which are also the names of their request types, to the macro `$then`.
        #[macro_export]
        macro_rules! for_each_call {
            ($d then:path) => { $d then! { $($name),* } };
        }
    };
}

pub(crate) use calls;
