%% A minimal process-pair replicator, to be measured beside Waterpark.
%%
%% One process per actor on the first node, and one on each of four others. A message that comes in over a socket goes to its actor's process, which
%% keeps it, sends it to its four partners, and answers once two of them have said that they keep it; further messages are taken meanwhile.
%% Messages are not batched: each is one Erlang message to the actor, one to and one from each partner. The runtime gathers what goes to
%% another node at once as it always does. The process that writes to a socket sends all acks that wait for it with one call.
%%
%% Nodes find each other without epmd, which would stay behind: a node's name has its port in it, as in p10304@127.0.0.1.
-module(waterpark_pairs).

-export([start/1, actor/3, partner/2]).
-export([start_link/0, register_node/2, register_node/3, address_please/3, port_please/2, port_please/3, listen_port_please/2, names/1]).

%% What a node listens on for clients, then the names of the others; only the first node is told any.
start([Port | Others]) ->
    ets:new(kept, [named_table, public, {read_concurrency, true}]),
    {ok, Listener} = gen_tcp:listen(list_to_integer(Port), [
        binary, {ip, {127, 0, 0, 1}}, {packet, 4}, {active, false}, {nodelay, true}, {reuseaddr, true}, {backlog, 1024},
        {recbuf, 262144}, {sndbuf, 262144}, {buffer, 262144}
    ]),
    Nodes = [list_to_atom(Other) || Other <- Others],
    [await(Node) || Node <- Nodes],
    register(births, spawn(fun() -> births(Nodes) end)),
    io:format("ready~n"),
    accept(Listener).

await(Node) ->
    case net_kernel:connect_node(Node) of
        true -> ok;
        _ -> timer:sleep(20), await(Node)
    end.

accept(Listener) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Writer = spawn(fun() -> write(Socket) end),
    Reader = spawn(fun() -> receive go -> read(Socket, Writer) end end),
    ok = gen_tcp:controlling_process(Socket, Reader),
    Reader ! go,
    accept(Listener).

read(Socket, Writer) ->
    inet:setopts(Socket, [{active, 256}]),
    reading(Socket, Writer).

reading(Socket, Writer) ->
    receive
        {tcp, Socket, <<Serial:64, Key:32, Message/binary>>} ->
            actor_of(Key) ! {append, Writer, Serial, Message},
            reading(Socket, Writer);
        {tcp_passive, Socket} ->
            read(Socket, Writer);
        {tcp, Socket, <<"read">>} ->
            tell(Socket, ets:tab2list(kept)),
            reading(Socket, Writer);
        {tcp_closed, Socket} ->
            exit(Writer, kill)
    end.

%% Acks of a connection, as many with one call as there are.
write(Socket) ->
    receive {acked, Serial} -> gen_tcp:send(Socket, waiting([<<Serial:64>>])) end,
    write(Socket).

waiting(Acks) ->
    receive {acked, Serial} -> waiting([<<Serial:64>> | Acks]) after 0 -> lists:reverse(Acks) end.

%% All that this node keeps: a packet for each message, and an empty one.
tell(Socket, []) ->
    ok = gen_tcp:send(Socket, <<>>);
tell(Socket, [{Key, Process} | Rest]) ->
    Process ! {read, self()},
    receive {kept, Messages} -> [ok = gen_tcp:send(Socket, [<<Key:32>>, Message]) || Message <- Messages] end,
    tell(Socket, Rest).

actor_of(Key) ->
    case ets:lookup(kept, Key) of
        [{Key, Process}] -> Process;
        [] -> births ! {birth, self(), Key}, receive {born, Key, Process} -> Process end
    end.

%% Makes each actor once, with its partners.
births(Nodes) ->
    receive
        {birth, From, Key} ->
            Process = case ets:lookup(kept, Key) of
                [{Key, There}] -> There;
                [] ->
                    New = spawn(?MODULE, actor, [[spawn(Node, ?MODULE, partner, [Key, []]) || Node <- Nodes], {1, []}, #{}]),
                    ets:insert(kept, {Key, New}),
                    New
            end,
            From ! {born, Key, Process},
            births(Nodes)
    end.

actor(Partners, {Seq, Kept}, Open) ->
    receive
        {append, Writer, Serial, Message} ->
            Copy = {keep, self(), Seq, Message},
            [Partner ! Copy || Partner <- Partners],
            actor(Partners, {Seq + 1, [Message | Kept]}, Open#{Seq => {2, Writer, Serial}});
        {keeps, At} ->
            case Open of
                #{At := {1, Writer, Serial}} ->
                    Writer ! {acked, Serial},
                    actor(Partners, {Seq, Kept}, maps:remove(At, Open));
                #{At := {More, Writer, Serial}} ->
                    actor(Partners, {Seq, Kept}, Open#{At := {More - 1, Writer, Serial}});
                #{} ->
                    actor(Partners, {Seq, Kept}, Open)
            end;
        {read, From} ->
            From ! {kept, Kept},
            actor(Partners, {Seq, Kept}, Open)
    end.

partner(Key, Kept) ->
    case Kept of
        [] -> ets:insert(kept, {Key, self()});
        _ -> ok
    end,
    keeping(Kept).

keeping(Kept) ->
    receive
        {keep, Actor, Seq, Message} ->
            Actor ! {keeps, Seq},
            keeping([Message | Kept]);
        {read, From} ->
            From ! {kept, Kept},
            keeping(Kept)
    end.

%% In the place of epmd.
start_link() -> ignore.
register_node(_Name, _Port) -> {ok, 1}.
register_node(_Name, _Port, _Driver) -> {ok, 1}.
address_please(_Name, _Host, inet) -> {ok, {127, 0, 0, 1}};
address_please(_Name, _Host, _Family) -> {error, nxdomain}.
listen_port_please(Name, _Host) -> {ok, port_of(Name)}.
port_please(Name, _Host) -> {port, port_of(Name), 6}.
port_please(Name, Host, _Timeout) -> port_please(Name, Host).
names(_Host) -> {error, address}.

port_of(Name) when is_atom(Name) -> port_of(atom_to_list(Name));
port_of("p" ++ Port) -> list_to_integer(Port).
