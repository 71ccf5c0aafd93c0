//! Files whose values do not fit each other, each with all that is said about it, to the letter.

use crate::support::{Case, NODE_1, NODE_2, NODE_3};

pub(crate) const CASES: &[Case] = &[
    Case {
        fact: "a node named in another form",
        edits: &[("\"FL-B-1\"", "\"fl_b_01\"")],
        said: r#"
error[WP-1301]: no node can be named `fl_b_01`
  --> cluster.toml:35:8
   |
35 | name = "fl_b_01"
   |        ^^^^^^^^^
   = help: did you mean `FL-B-1`? the form is DC-AZ-N, capitals and digits (at most 8 and 4), then a number from 1 to 9999: `FL-A-1`

1 error; the configuration was not used"#,
    },
    Case {
        fact: "two nodes of one name and id",
        edits: &[
            ("id = 3\nname = \"TN-A-1\"", "id = 2\nname = \"FL-B-1\""),
            ("dc = \"TN\"", "dc = \"FL\""),
            ("delay = { FL-TN = \"18ms\" }\n", ""),
        ],
        said: r#"
error[WP-1303]: another node has the id 2
  --> cluster.toml:39:6
   |
39 | id = 2
   |      ^
   = note: see also cluster.toml:33:6
   = help: give the newer node an id that no node ever had

error[WP-1302]: another node is named FL-B-1
  --> cluster.toml:40:8
   |
40 | name = "FL-B-1"
   |        ^^^^^^^^
   = note: see also cluster.toml:34:8
   = help: give each node a name of its own

2 errors; the configuration was not used"#,
    },
    Case {
        fact: "ports that overlap",
        edits: &[("port = 7256", "port = 7100")],
        said: r#"
error[WP-1304]: ports 7100 to 7355 of 127.0.0.1 overlap those of the node at 7000
  --> cluster.toml:37:8
   |
37 | port = 7100
   |        ^^^^
   = note: see also cluster.toml:31:8
   = help: 7768 is free: ports are 256 apart

1 error; the configuration was not used"#,
    },
    Case {
        fact: "a port too high for 256 of them",
        edits: &[("port = 7512", "port = 65281")],
        said: r#"
error[WP-1305]: a node at 65281 needs ports beyond 65535
  --> cluster.toml:43:8
   |
43 | port = 65281
   |        ^^^^^
   = help: choose a port of at most 65280

1 error; the configuration was not used"#,
    },
    Case {
        fact: "a file without nodes",
        edits: &[
            (NODE_1, ""),
            (NODE_2, ""),
            (NODE_3, ""),
            ("delay = { FL-TN = \"18ms\" }\n", ""),
        ],
        said: r#"
error[WP-1307]: the cluster has no nodes
  --> cluster.toml
   = help: write one [[node]] table per node, or make a new file with `waterpark init`

1 error; the configuration was not used"#,
    },
    Case {
        fact: "groups that are no power of two",
        edits: &[("groups = 128", "groups = 100")],
        said: r#"
error[WP-1308]: `groups` is a power of two from 64 to 1048576, not 100
  --> cluster.toml:6:10
   |
 6 | groups = 100
   |          ^^^
   = help: restore the number with which the cluster was made; it never changes

1 error; the configuration was not used"#,
    },
    Case {
        fact: "classes that do not divide the groups",
        edits: &[("classes = 4", "classes = 6")],
        said: r#"
error[WP-1309]: `classes` is a power of two that divides the 128 groups, not 6
  --> cluster.toml:7:11
   |
 7 | classes = 6
   |           ^
   = note: see also cluster.toml:6:10
   = help: restore the number with which the cluster was made; it never changes

1 error; the configuration was not used"#,
    },
    Case {
        fact: "two members",
        edits: &[("members = 3", "members = 2")],
        said: r#"
error[WP-1310]: a group has 1, 3, 4 or 5 members, not 2
  --> cluster.toml:8:11
   |
 8 | members = 2
   |           ^
   = help: choose 5, or as many of 3, 4, 5 as there are nodes

1 error; the configuration was not used"#,
    },
    Case {
        fact: "more members than nodes",
        edits: &[("members = 3", "members = 5")],
        said: r#"
error[WP-1311]: 5 members do not fit on 3 nodes
  --> cluster.toml:8:11
   |
 8 | members = 5
   |           ^
   = help: add nodes, or lower `members`

1 error; the configuration was not used"#,
    },
    Case {
        fact: "a home without a node",
        edits: &[("dc = \"TN\"", "dc = \"TX\"")],
        said: r#"
error[WP-1313]: no node stands in data centre `TX`
  --> cluster.toml:14:6
   |
14 | dc = "TX"
   |      ^^^^
   = help: did you mean `TN`? data centres of the nodes: FL, TN

1 error; the configuration was not used"#,
    },
    Case {
        fact: "a class that does not exist",
        edits: &[("HOSPX = 3", "HOSPX = 4"), ("[classes.1]", "[classes.first]")],
        said: r#"
error[WP-1314]: there is no class 4
  --> cluster.toml:11:9
   |
11 | HOSPX = 4
   |         ^
   = help: choose from 0 to 3

error[WP-1314]: there is no class first
  --> cluster.toml:13:10
   |
13 | [classes.first]
   |          ^^^^^
   = help: write the number of a class

2 errors; the configuration was not used"#,
    },
    Case {
        fact: "round trips of pairs that are none",
        edits: &[(
            "{ FL-TN = \"18ms\" }",
            "{ FL-TN = \"18ms\", TN-FL = \"18ms\", FL-FL = \"1ms\" }",
        )],
        said: r#"
error[WP-1315]: the round trip of `FL-TN` was given before
  --> cluster.toml:20:27
   |
20 | delay = { FL-TN = "18ms", TN-FL = "18ms", FL-FL = "1ms" }
   |                           ^^^^^
   = note: see also cluster.toml:20:11
   = help: write two data centres of the nodes, as in `FL-TN`, each pair once

error[WP-1315]: `FL-FL` is no pair of two data centres
  --> cluster.toml:20:43
   |
20 | delay = { FL-TN = "18ms", TN-FL = "18ms", FL-FL = "1ms" }
   |                                           ^^^^^
   = help: write two data centres of the nodes, as in `FL-TN`, each pair once

2 errors; the configuration was not used"#,
    },
    Case {
        fact: "shards that only the host could count",
        edits: &[("port = 7256", "port = 7256\nworkers = \"auto\"")],
        said: r#"
error[WP-1316]: with `workers = "auto"` the other nodes cannot know this one's shards
  --> cluster.toml:33:1
   |
33 | [[node]]
   | ^^^^^^^^
   = help: write `shards = N` beside the node, or give `workers` as a number or a list of cores

1 error; the configuration was not used"#,
    },
    Case {
        fact: "shards and workers that disagree",
        edits: &[("port = 7256", "port = 7256\nworkers = \"2-5\"\nshards = 3")],
        said: r#"
error[WP-1317]: `shards` is 3, but `workers` makes 4
  --> cluster.toml:39:10
   |
39 | shards = 3
   |          ^
   = note: see also cluster.toml:38:11
   = help: leave out `shards`, or make it the number of workers

1 error; the configuration was not used"#,
    },
    Case {
        fact: "a host beyond this machine without a key",
        edits: &[("key_file = \"cluster.key\"\n", ""), ("\"127.0.0.1\"", "\"10.0.0.1\"")],
        said: r#"
error[WP-1318]: a node listens at 10.0.0.1, beyond this machine, and the cluster has no key
  --> cluster.toml:3:1
   |
 3 | [cluster]
   | ^^^^^^^^^
   = note: see also cluster.toml:29:8
   = help: set `key_file = "cluster.key"` in [cluster]; `waterpark init` makes such a file

1 error; the configuration was not used"#,
    },
    Case {
        fact: "hosts that nobody can dial",
        edits: &[
            (
                "id = 1\nname = \"FL-A-1\"\nhost = \"127.0.0.1\"",
                "id = 1\nname = \"FL-A-1\"\nhost = \"0.0.0.0\"",
            ),
            (
                "name = \"FL-B-1\"\nhost = \"127.0.0.1\"",
                "name = \"FL-B-1\"\nhost = \"127.0.0.1:7256\"",
            ),
        ],
        said: r#"
error[WP-1320]: `0.0.0.0` is no host to listen at
  --> cluster.toml:30:8
   |
30 | host = "0.0.0.0"
   |        ^^^^^^^^^
   = help: write an IP address or DNS name under which the other nodes reach this one

error[WP-1320]: `127.0.0.1:7256` is no host to listen at
  --> cluster.toml:36:8
   |
36 | host = "127.0.0.1:7256"
   |        ^^^^^^^^^^^^^^^^
   = help: write the address alone, without brackets; the port has a key of its own

2 errors; the configuration was not used"#,
    },
    Case {
        fact: "voters that are no nodes, or named twice",
        edits: &[(
            "format = 1\n",
            "format = 1\nvoters = [\"FL-A-1\", \"FL-B-2\", \"FL-A-1\", \"nobody\"]\n",
        )],
        said: r#"
error[WP-1324]: the voter `FL-B-2` is no node of the file
  --> cluster.toml:2:21
   |
 2 | voters = ["FL-A-1", "FL-B-2", "FL-A-1", "nobody"]
   |                     ^^^^^^^^
   = help: did you mean `FL-B-1`? nodes of the file: FL-A-1, FL-B-1, TN-A-1

error[WP-1325]: the voter `FL-A-1` was named before
  --> cluster.toml:2:31
   |
 2 | voters = ["FL-A-1", "FL-B-2", "FL-A-1", "nobody"]
   |                               ^^^^^^^^
   = note: see also cluster.toml:2:11
   = help: restore the list with which the cluster was made; it names each voter once

error[WP-1324]: the voter `nobody` is no node of the file
  --> cluster.toml:2:41
   |
 2 | voters = ["FL-A-1", "FL-B-2", "FL-A-1", "nobody"]
   |                                         ^^^^^^^^
   = help: nodes of the file: FL-A-1, FL-B-1, TN-A-1

3 errors; the configuration was not used"#,
    },
    Case {
        fact: "a node that joins, and no voters",
        edits: &[(
            "port = 7512\n",
            "port = 7512\n\n[[node]]\nid = 4\nname = \"TN-B-1\"\nhost = \"127.0.0.1\"\nport = 7768\njoins = true\n",
        )],
        said: r#"
error[WP-1326]: a node joins, and no voters are named: there is no topology log to say so
  --> cluster.toml:50:9
   |
50 | joins = true
   |         ^^^^
   = help: restore the list of voters with which the cluster was made. If it never had one, make a new cluster: `init` names voters unless `--fixed` is said

1 error; the configuration was not used"#,
    },
    Case {
        fact: "no voters",
        edits: &[("format = 1\n", "format = 1\nvoters = []\n")],
        said: r#"
error[WP-1323]: a cluster begins with 1 to 7 voters, not 0
  --> cluster.toml:2:10
   |
 2 | voters = []
   |          ^^
   = help: restore the list with which the cluster was made

1 error; the configuration was not used"#,
    },
    Case {
        fact: "a voter beside a node whose name could not be read",
        edits: &[
            ("format = 1\n", "format = 1\nvoters = [\"TN-A-1\"]\n"),
            ("name = \"TN-A-1\"", "name = \"TN-A-01\""),
        ],
        said: r#"
error[WP-1301]: no node can be named `TN-A-01`
  --> cluster.toml:42:8
   |
42 | name = "TN-A-01"
   |        ^^^^^^^^^
   = help: did you mean `TN-A-1`? the form is DC-AZ-N, capitals and digits (at most 8 and 4), then a number from 1 to 9999: `FL-A-1`

1 error; the configuration was not used"#,
    },
];
