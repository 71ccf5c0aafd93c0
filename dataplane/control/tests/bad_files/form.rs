//! Files whose form is wrong, each with all that is said about it, to the letter.

use crate::support::{BASE, Case, NODE_2, NODE_3};

pub(crate) const CASES: &[Case] = &[
    Case {
        fact: "a text that is not toml",
        edits: &[("groups = 128", "groups = = 128"), ("port = 7256", "port 7256")],
        said: r#"
error[WP-1201]: not TOML: extra `=`, expected nothing
  --> cluster.toml:6:10
   |
 6 | groups = = 128
   |          ^
   = help: mend the line that is shown

error[WP-1201]: not TOML: key with no value, expected `=`
  --> cluster.toml:37:6
   |
37 | port 7256
   |      ^
   = help: mend the line that is shown

2 errors; the configuration was not used"#,
    },
    Case {
        fact: "a key given twice",
        edits: &[("groups = 128", "groups = 128\ngroups = 64")],
        said: r#"
error[WP-1201]: not TOML: duplicate key
  --> cluster.toml:7:1
   |
 7 | groups = 64
   | ^^^^^^
   = help: mend the line that is shown

1 error; the configuration was not used"#,
    },
    Case {
        fact: "a format of another release",
        edits: &[("format = 1", "format = 2"), ("memory", "memroy")],
        said: r#"
error[WP-1005]: this release reads format 1, the file is of format 2
  --> cluster.toml:1:10
   |
 1 | format = 2
   |          ^
   = help: run the release that the file was written for, or write it anew in format 1

1 error; the configuration was not used"#,
    },
    Case {
        fact: "a cluster that lacks its required keys",
        edits: &[("groups = 128\nclasses = 4\nmembers = 3\n", "")],
        said: r#"
error[WP-1202]: `groups` is missing in [cluster]
  --> cluster.toml:3:1
   |
 3 | [cluster]
   | ^^^^^^^^^
   = help: write `groups = 128`

error[WP-1202]: `classes` is missing in [cluster]
  --> cluster.toml:3:1
   |
 3 | [cluster]
   | ^^^^^^^^^
   = help: write `classes = 4`

error[WP-1202]: `members` is missing in [cluster]
  --> cluster.toml:3:1
   |
 3 | [cluster]
   | ^^^^^^^^^
   = help: write `members = 5`

3 errors; the configuration was not used"#,
    },
    Case {
        fact: "values of the wrong type",
        edits: &[
            ("groups = 128", "groups = \"128\""),
            ("dc = \"TN\"", "dc = 1"),
            ("workers = 2", "workers = true"),
            ("port = 7512", "port = 7512.5"),
        ],
        said: r#"
error[WP-1203]: `groups` takes a whole number, this is a string
  --> cluster.toml:6:10
   |
 6 | groups = "128"
   |          ^^^^^
   = help: write a whole number

error[WP-1203]: `dc` takes a string in quotes, this is a whole number
  --> cluster.toml:14:6
   |
14 | dc = 1
   |      ^
   = help: write a string in quotes

error[WP-1203]: `workers` takes a whole number or a string in quotes, this is true or false
  --> cluster.toml:24:11
   |
24 | workers = true
   |           ^^^^
   = help: write a whole number or a string in quotes

error[WP-1203]: `port` takes a whole number, this is a number with a fraction
  --> cluster.toml:43:8
   |
43 | port = 7512.5
   |        ^^^^^^
   = help: write a whole number

4 errors; the configuration was not used"#,
    },
    Case {
        fact: "numbers out of range",
        edits: &[
            ("id = 1\n", "id = 0\n"),
            ("port = 7256", "port = 70000"),
            ("members = 3", "members = -3"),
            ("memory = \"2GiB\"", "memory = \"1MiB\""),
        ],
        said: r#"
error[WP-1204]: `members` cannot be -3
  --> cluster.toml:8:11
   |
 8 | members = -3
   |           ^^
   = help: choose from 1 to 5

error[WP-1204]: `memory` cannot be 1MiB
  --> cluster.toml:25:10
   |
25 | memory = "1MiB"
   |          ^^^^^^
   = help: choose from 16MiB to 64TiB

error[WP-1204]: `id` cannot be 0
  --> cluster.toml:28:6
   |
28 | id = 0
   |      ^
   = help: choose from 1 to 65535

error[WP-1204]: `port` cannot be 70000
  --> cluster.toml:37:8
   |
37 | port = 70000
   |        ^^^^^
   = help: choose from 1 to 65535

4 errors; the configuration was not used"#,
    },
    Case {
        fact: "a word that is none of those allowed",
        edits: &[("\"lz4\"", "\"lz5\"")],
        said: r#"
error[WP-1205]: `compression` cannot be `lz5`
  --> cluster.toml:21:15
   |
21 | compression = "lz5"
   |               ^^^^^
   = help: did you mean `lz4`? allowed: none, lz4

1 error; the configuration was not used"#,
    },
    Case {
        fact: "quantities in another form",
        edits: &[("\"18ms\"", "\"18 ms\""), ("\"2GiB\"", "\"2GB\"")],
        said: r#"
error[WP-1206]: `18 ms` is no duration: no space belongs between number and unit
  --> cluster.toml:20:19
   |
20 | delay = { FL-TN = "18 ms" }
   |                   ^^^^^^^
   = help: write a whole number and one of us, ms, s, m, h, d: `250ms`, `10s`, `1h`, `30d`

error[WP-1206]: `2GB` is no size: there is no unit `GB`, did you mean `GiB`?
  --> cluster.toml:25:10
   |
25 | memory = "2GB"
   |          ^^^^^
   = help: write a whole number and one of B, KiB, MiB, GiB, TiB: `64KiB`, `2GiB`

2 errors; the configuration was not used"#,
    },
    Case {
        fact: "a mistyped key",
        edits: &[("memory =", "  memroy ="), ("[facilities]", "[facilites]")],
        said: r#"
error[WP-1207]: unknown key `facilites` in the file
  --> cluster.toml:10:2
   |
10 | [facilites]
   |  ^^^^^^^^^
   = help: did you mean `facilities`? allowed here: format, voters, data, cluster, facilities, classes, kinds, links, mllp, defaults, votes, node

error[WP-1207]: unknown key `memroy` in [defaults]
  --> cluster.toml:25:3
   |
25 |   memroy = "2GiB"
   |   ^^^^^^
   = help: did you mean `memory`? allowed here: workers, memory, clients, waiting

2 errors; the configuration was not used"#,
    },
    Case {
        fact: "a key that nobody meant",
        edits: &[("port = 7000", "port = 7000\ncolour = \"blue\"")],
        said: r#"
error[WP-1207]: unknown key `colour` in [[node]]
  --> cluster.toml:32:1
   |
32 | colour = "blue"
   | ^^^^^^
   = help: allowed here: id, name, host, port, workers, memory, shards, joins

1 error; the configuration was not used"#,
    },
    Case {
        fact: "a cluster id cut short",
        edits: &[("00112233445566778899aabbccddeeff", "00112233445566778899aabbccddee")],
        said: r#"
error[WP-1208]: the cluster id is 32 hexadecimal digits, this has 30 characters
  --> cluster.toml:4:6
   |
 4 | id = "00112233445566778899aabbccddee"
   |      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   = help: copy the 32 hexadecimal digits from another node's file

1 error; the configuration was not used"#,
    },
    Case {
        fact: "a cluster id with a letter too far",
        edits: &[("ddeeff\"", "ddeefg\"")],
        said: r#"
error[WP-1208]: the cluster id is 32 hexadecimal digits, these 32 characters are not
  --> cluster.toml:4:6
   |
 4 | id = "00112233445566778899aabbccddeefg"
   |      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   = help: copy the 32 hexadecimal digits from another node's file

1 error; the configuration was not used"#,
    },
    Case {
        fact: "a history that says nothing",
        edits: &[("\"last 100\"", "\"last few\"")],
        said: r#"
error[WP-1209]: `last few` says nothing about history
  --> cluster.toml:17:11
   |
17 | history = "last few"
   |           ^^^^^^^^^^
   = help: write "all", "last 100", "for 30d" or "none"

1 error; the configuration was not used"#,
    },
    Case {
        fact: "a history without a unit",
        edits: &[("\"last 100\"", "\"for 30\"")],
        said: r#"
error[WP-1209]: `for 30` says nothing about history: the unit is missing
  --> cluster.toml:17:11
   |
17 | history = "for 30"
   |           ^^^^^^^^
   = help: write "all", "last 100", "for 30d" or "none"

1 error; the configuration was not used"#,
    },
    Case {
        fact: "workers that say nothing",
        edits: &[("workers = 2", "workers = \"most\"")],
        said: r#"
error[WP-1210]: `most` says nothing about workers
  --> cluster.toml:24:11
   |
24 | workers = "most"
   |           ^^^^^^
   = help: write a number of shards (4), "auto", cores ("2-31", "2,4,6", "4-4") or "numa:0"

1 error; the configuration was not used"#,
    },
    Case {
        fact: "a kind that no key could name",
        edits: &[("[kinds.record]", "[kinds.Record]")],
        said: r#"
error[WP-1211]: no kind can be named `Record`
  --> cluster.toml:16:8
   |
16 | [kinds.Record]
   |        ^^^^^^
   = help: kinds are named in small letters, digits and `_`, a letter first, 32 at most

1 error; the configuration was not used"#,
    },
    Case {
        fact: "a facility without a name",
        edits: &[("HOSPX = 3", "\"\" = 3")],
        said: r#"
error[WP-1212]: a facility's name cannot be empty
  --> cluster.toml:11:1
   |
11 | "" = 3
   | ^^
   = help: write the name as the keys carry it

1 error; the configuration was not used"#,
    },
    Case {
        fact: "mllp as nobody could serve it",
        edits: &[(
            "[defaults]\n",
            "[mllp]\nauthorities = [\"MR\", \"\", \"MR\", \" MR\"]\nfrom = \"all\"\nmode = \"extended\"\ntimeout = \"1ms\"\nmessage_max = \"2MiB\"\nlisten = \"no\"\ntimout = \"1s\"\n\n[defaults]\n",
        )],
        said: r#"
error[WP-1213]: no assigning authority can be named ``
  --> cluster.toml:24:22
   |
24 | authorities = ["MR", "", "MR", " MR"]
   |                      ^^
   = help: write each authority once, as senders write it in the fourth component of PID-3

error[WP-1213]: the authority `MR` was named before
  --> cluster.toml:24:26
   |
24 | authorities = ["MR", "", "MR", " MR"]
   |                          ^^^^
   = help: write each authority once, as senders write it in the fourth component of PID-3

error[WP-1213]: no assigning authority can be named ` MR`
  --> cluster.toml:24:32
   |
24 | authorities = ["MR", "", "MR", " MR"]
   |                                ^^^^^
   = help: write each authority once, as senders write it in the fourth component of PID-3

error[WP-1205]: `from` cannot be `all`
  --> cluster.toml:25:8
   |
25 | from = "all"
   |        ^^^^^
   = help: allowed: loopback, any

error[WP-1205]: `mode` cannot be `extended`
  --> cluster.toml:26:8
   |
26 | mode = "extended"
   |        ^^^^^^^^^^
   = help: allowed: original, enhanced

error[WP-1204]: `timeout` cannot be 1ms
  --> cluster.toml:27:11
   |
27 | timeout = "1ms"
   |           ^^^^^
   = help: choose from 100ms to 10m

error[WP-1204]: `message_max` cannot be 2MiB
  --> cluster.toml:28:15
   |
28 | message_max = "2MiB"
   |               ^^^^^^
   = help: choose from 1KiB to 1MiB

error[WP-1203]: `listen` takes true or false, this is a string
  --> cluster.toml:29:10
   |
29 | listen = "no"
   |          ^^^^
   = help: write true or false

error[WP-1207]: unknown key `timout` in [mllp]
  --> cluster.toml:30:1
   |
30 | timout = "1s"
   | ^^^^^^
   = help: did you mean `timeout`? allowed here: listen, from, mode, timeout, message_max, authorities

9 errors; the configuration was not used"#,
    },
    Case {
        fact: "voters that would be replaced at every restart, and files that hold nothing",
        edits: &[(
            "[defaults]\n",
            "[votes]\nreplace_after = \"200ms\"\ntrim = \"1KiB\"\ntrimm = \"8MiB\"\n\n[defaults]\n",
        )],
        said: r#"
error[WP-1204]: `replace_after` cannot be 200ms
  --> cluster.toml:24:17
   |
24 | replace_after = "200ms"
   |                 ^^^^^^^
   = help: choose from 1s to 1d

error[WP-1204]: `trim` cannot be 1KiB
  --> cluster.toml:25:8
   |
25 | trim = "1KiB"
   |        ^^^^^^
   = help: choose from 16KiB to 1GiB

error[WP-1207]: unknown key `trimm` in [votes]
  --> cluster.toml:26:1
   |
26 | trimm = "8MiB"
   | ^^^^^
   = help: did you mean `trim`? allowed here: replace_after, trim

3 errors; the configuration was not used"#,
    },
    Case {
        fact: "authorities that are no list of names",
        edits: &[("[defaults]\n", "[mllp]\nauthorities = \"MR\"\n\n[defaults]\n")],
        said: r#"
error[WP-1203]: `authorities` takes a list of strings in quotes, this is a string
  --> cluster.toml:24:15
   |
24 | authorities = "MR"
   |               ^^^^
   = help: write a list of strings in quotes

1 error; the configuration was not used"#,
    },
    Case {
        fact: "an authority that is no name",
        edits: &[("[defaults]\n", "[mllp]\nauthorities = [\"MR\", 7]\n\n[defaults]\n")],
        said: r#"
error[WP-1203]: `authorities` takes a list of strings in quotes, this is a whole number
  --> cluster.toml:24:22
   |
24 | authorities = ["MR", 7]
   |                      ^
   = help: write a list of strings in quotes

1 error; the configuration was not used"#,
    },
    Case {
        fact: "a list where tables belong",
        edits: &[("[[node]]\nid = 1\n", "[node]\nid = 1\n"), (NODE_2, ""), (NODE_3, "")],
        said: r#"
error[WP-1203]: `node` takes one table per node, each under `[[node]]`, this is a table
  --> cluster.toml:27:1
   |
27 | [node]
   | ^^^^^^
   = help: write one table per node, each under `[[node]]`

1 error; the configuration was not used"#,
    },
    Case {
        fact: "a comment and nothing else",
        edits: &[(BASE, "# nodes follow\n")],
        said: r#"
error[WP-1003]: the configuration is empty
  --> cluster.toml
   = help: copy the file again from another node, or make one with `waterpark init`

1 error; the configuration was not used"#,
    },
    Case {
        fact: "voters and a folder that say nothing",
        edits: &[("format = 1\n", "format = 1\nvoters = [\"FL-A-1\", 2]\ndata = \"\"\n")],
        said: r#"
error[WP-1203]: `voters` takes a list of strings in quotes, this is a whole number
  --> cluster.toml:2:21
   |
 2 | voters = ["FL-A-1", 2]
   |                     ^
   = help: write a list of strings in quotes

error[WP-1214]: no folder can be named ``
  --> cluster.toml:3:8
   |
 3 | data = ""
   |        ^^
   = help: write a folder of the nodes' own, relative to cluster.toml, as in `data`, or absolute

2 errors; the configuration was not used"#,
    },
    Case {
        fact: "one voter without a list, and its key mistyped",
        edits: &[(
            "format = 1\n",
            "format = 1\nvotres = [\"FL-A-1\"]\nvoters = \"FL-A-1\"\n",
        )],
        said: r#"
error[WP-1207]: unknown key `votres` in the file
  --> cluster.toml:2:1
   |
 2 | votres = ["FL-A-1"]
   | ^^^^^^
   = help: did you mean `voters`? allowed here: format, voters, data, cluster, facilities, classes, kinds, links, mllp, defaults, votes, node

error[WP-1203]: `voters` takes a list of strings in quotes, this is a string
  --> cluster.toml:3:10
   |
 3 | voters = "FL-A-1"
   |          ^^^^^^^^
   = help: write a list of strings in quotes

2 errors; the configuration was not used"#,
    },
];
