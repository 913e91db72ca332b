package teach

// expected are the facts of every scenario, as name=value, in the order of the text.
var expected = map[string][]string{
	// What dependable means.
	"availability": {
		"hour-available=99.9999722 %",
		"hour-reliable=0.0 %",
		"march-available=96.16 %",
		"march-reliable=87.9 %",
	},
	"repair": {
		"as-it-is=99.01 %",
		"rarer=99.90 %",
		"faster=99.90 %",
		"same=true",
		"reliability=98.33 % against 84.54 %",
		"measured=true",
	},
	"safety": {
		"either-unsafe=2",
		"either-halted=0",
		"both-unsafe=0",
		"both-halted=4",
	},

	// How things fail.
	"failure-durations": {
		"transient=[1 0 1]",
		"intermittent=[6 3 6]",
		"permanent=[14 14 3]",
	},
	"failure-classes": {
		"none=1 2 3 4 5 6",
		"crash=1 2 - - - -",
		"send-omission=1 2 - 4 5 6",
		"receive-omission=1 2 - 3 4 5",
		"timing=1 2 3(late) 4 5 6",
		"value=1 2 42 4 5 6",
		"state-transition=1 2 4 5 6 7",
		"arbitrary=1 2 42 4 5 6",
		"told-apart=8",
	},
	"full-buffer": {
		"on-time=0",
		"too-late=0",
		"too-early=2",
	},
	"unknown-message": {
		"falls=7",
		"asserts=11",
		"refuses=0",
	},

	// Masking by redundancy.
	"information-redundancy": {
		"parity-notices=80",
		"parity-recovers=0",
		"hamming-recovers=112",
		"hamming-double-wrong=336",
		"extended-double=true",
	},
	"time-redundancy": {
		"none=true",
		"transient=true",
		"intermittent=true",
		"permanent=false",
	},
	"physical-redundancy": {
		"single-survives=0",
		"one-voter-survives=9",
		"three-voters-survive=18",
		"three-voters-two-faults=130",
	},
	"how-many": {
		"silent=2",
		"voting=3",
		"agreeing=4",
		"sizes=2/3/4",
	},

	// Groups of processes.
	"flat-and-hierarchical": {
		"hierarchical-coordinator=3",
		"hierarchical-worker=12",
		"flat-crash=12",
		"messages=[24 36]",
	},
	"group-server": {
		"central=A D",
		"central-joined=false",
		"distributed=A B D E",
		"ghost=true",
		"messages=9",
	},
	"join-and-leave": {
		"apart-bad=15",
		"apart-worst=6",
		"ordered-bad=0",
	},
	"rebuild": {
		"groups-first=2",
		"split-first=49",
		"groups-highest=1",
		"split-highest=0",
		"majority=false",
	},

	// Agreement.
	"vectors-four": {
		"vector=(1 2 ? 4)",
		"agree=true",
		"right=true",
		"lies-tried=810",
		"lies-that-divide=0",
		"lies-that-hide=0",
		"lies-that-divide-naive=516",
	},
	"vectors-three": {
		"vector-1=(1 ? ?)",
		"vector-2=(? 2 ?)",
		"agree=false",
		"right=false",
		"lies-tried=99",
		"lies-that-divide=12",
		"lies-that-hide=12",
	},
	"vectors-lost": {
		"vector-1=(1 ? ? 4)",
		"vector-4=(1 2 ? 4)",
		"agree=false",
		"losses-without-liar=2",
	},
	"four-dimensions": {
		"runs=99050",
		"solved=8",
		"law=true",
		"ordered-multicast-async=enough",
	},

	// Detecting failures.
	"failure-detection": {
		"pinging=[30 18]",
		"passive=[15 28]",
		"gossip=[50 78]",
	},
	"false-positives": {
		"trade=true",
		"short=true",
		"none-left=true",
	},
	"asking-neighbours": {
		"alone=1",
		"asking=0",
		"missed=0",
	},
	"tcp": {
		"masked=73",
		"gave-up=20",
		"spoilt=0",
		"gives-up=1",
		"reconnects=3",
		"numbers=6",
	},

	// Remote procedure calls.
	"rpc-no-server": {
		"no-server=no server",
		"wrong-version=wrong version",
		"safe=true",
	},
	"rpc-lost-request": {
		"once=0",
		"again=1",
	},
	"rpc-server-crash": {
		"before=1",
		"after=2",
		"remembered=1",
	},
	"rpc-lost-reply": {
		"forgetful=2",
		"filtering=1",
	},
	"rpc-client-crash": {
		"orphan=true",
	},
	"call-semantics": {
		"none-span=0 to 2",
		"least-told=1",
		"most=1",
		"exactly=true",
	},
	"printer": {
		"combinations=8",
		"ok=12",
		"right=0",
		"none=true",
	},
	"idempotence": {
		"server-1=4",
		"server-2=3",
		"server-3=3",
		"overtaken=4",
		"idempotent=read the number, set it to 7 and take the larger of it and 7",
		"mark-saves=3",
	},
	"bank-transfer": {
		"plain-a=300",
		"safe-a=400",
		"sum=true",
	},

	// Orphans.
	"orphan-extermination": {
		"orphans=0",
		"innocents=",
		"orphans-cut-off=c2",
		"writes=2",
	},
	"orphan-reincarnation": {
		"orphans=0",
		"innocents=d1",
		"orphans-cut-off=c2",
	},
	"orphan-gentle": {
		"orphans=0",
		"innocents=",
		"orphans-cut-off=c2",
		"asked=3",
	},
	"orphan-expiration": {
		"orphans=0",
		"innocents=",
		"orphans-cut-off=",
		"asked=12",
		"within=true",
	},
	"orphans-compared": {
		"kind=extermination, gentle reincarnation and expiration",
		"sure=expiration",
	},
	"orphan-children": {
		"children-left=3",
		"logs-left=0",
	},
	"orphan-locks": {
		"locked=5",
		"half=1",
		"leases=0",
	},

	// Several updates as one.
	"atomic-update": {
		"plain-half=16",
		"two-half=0",
		"blocks=true",
	},

	// The engine under faults.
	"class-crash": {
		"hit=true",
		"masked=true",
		"replaced=true",
		"beyond-breaks=true",
		"beyond-safe=true",
	},
	"class-send-omission": {
		"hit=true",
		"masked=true",
		"replaced=true",
		"beyond-breaks=true",
		"beyond-safe=true",
	},
	"class-receive-omission": {
		"hit=true",
		"masked=true",
		"replaced=true",
		"beyond-breaks=true",
		"beyond-safe=true",
	},
	"class-timing": {
		"hit=true",
		"masked=true",
		"replaced=true",
		"beyond-breaks=true",
		"beyond-safe=true",
	},
	"class-value": {
		"hit=true",
		"masked=true",
		"beyond-breaks=true",
		"beyond-safe=false",
	},
	"class-state-transition": {
		"hit=true",
		"masked=true",
		"replaced=true",
		"beyond-breaks=true",
		"beyond-safe=true",
	},
	"class-arbitrary": {
		"hit=true",
		"masked=true",
		"beyond-breaks=true",
		"beyond-safe=false",
	},
	"whole-number-division": {
		"hit=true",
		"masked=true",
		"told-wrongly=0",
		"beyond-believed=true",
		"beyond-oracle=RESULT",
	},
	"lying-update": {
		"hit=true",
		"active-masked=true",
		"validated-caught=true",
		"trusted-deceived=true",
		"trusted-oracle=RESULT",
	},
	"equivocation": {
		"four=none",
		"six=S1",
		"seven=none",
		"lied=true",
		"three-refused=true",
	},
	"engine-bank-transfer": {
		"resent=true",
		"exactly-once=true",
		"oracles=true",
	},
	"engine-rpc-failures": {
		"no-server=true",
		"lost-request=true",
		"server-crash=true",
		"lost-reply=true",
		"client-crash=true",
		"client-crash-oracle=L1",
	},
	"engine-call-semantics": {
		"promises=true",
		"exactly-once=true",
		"at-most-once=true",
		"at-least-once=true",
		"maybe=true",
		"crash=true",
	},
}
