"""Drives the servos behind a port with two clients that are not ours and prints what they saw.

usage: servo_diff.py PORT ID...

Both clients come unmodified from PyPI: rustypot and feetech-servo-sdk (module scservo_sdk). They
read every register, write and read back, use reg write, sync read and sync write, and meet a
servo that is not there. One JSON object on standard output; the Rust test that starts this
compares it with the emulator's own memory.
"""

import json
import sys
import time

import rustypot
import scservo_sdk as scs

ABSENT = 77


class Rustypot:
    def __init__(self, port):
        self.io = rustypot.Sts3215PyController(port, 1_000_000, 1.0)

    def close(self):
        self.io.close()

    def ping(self, sid):
        return bool(self.io.ping(sid))

    def read(self, sid, addr, size):
        return list(self.io.read_raw_data(sid, addr, size))

    def write(self, sid, addr, data):
        self.io.write_raw_data(sid, addr, list(data))

    def sync_read(self, ids, addr, size):
        return [list(d) for d in self.io.sync_read_raw_data(ids, addr, size)]

    def sync_write(self, ids, addr, datas):
        self.io.sync_write_raw_data(ids, addr, [list(d) for d in datas])

    def extras(self, ids):
        registers = {r.name: self.io.read_register(ids[0], r.name) for r in self.io.registers()}
        return {
            "named": registers,
            "table": {
                r.name: [r.addr, r.size, getattr(r, "sign_bit", None)]
                for r in self.io.registers()
            },
            "scan": sorted(self.io.scan([*ids, ABSENT])),
            "broadcast_scan": sorted(self.io.broadcast_scan(list(range(0, 30)))),
            "radians": list(self.io.sync_read_present_position(ids)),
        }


class FeetechSdk:
    def __init__(self, port):
        self.port = scs.PortHandler(port)
        self.ph = scs.PacketHandler(0)
        assert self.port.openPort() and self.port.setBaudRate(1_000_000)

    def close(self):
        self.port.closePort()

    def ping(self, sid):
        _, result, _ = self.ph.ping(self.port, sid)
        return result == scs.COMM_SUCCESS

    def read(self, sid, addr, size):
        data, result, error = self.ph.readTxRx(self.port, sid, addr, size)
        assert result == scs.COMM_SUCCESS and error == 0, (sid, addr, size, result, error)
        return list(data)

    def write(self, sid, addr, data):
        result, error = self.ph.writeTxRx(self.port, sid, addr, len(data), list(data))
        assert result == scs.COMM_SUCCESS and error == 0, (sid, addr, result, error)

    def sync_read(self, ids, addr, size):
        group = scs.GroupSyncRead(self.port, self.ph, addr, size)
        for sid in ids:
            group.addParam(sid)
        assert group.txRxPacket() == scs.COMM_SUCCESS
        return [[group.getData(sid, addr + i, 1) for i in range(size)] for sid in ids]

    def sync_write(self, ids, addr, datas):
        group = scs.GroupSyncWrite(self.port, self.ph, addr, len(datas[0]))
        for sid, data in zip(ids, datas):
            group.addParam(sid, list(data))
        assert group.txPacket() == scs.COMM_SUCCESS

    def extras(self, ids):
        """Reg write and action, which rustypot does not have."""
        result, _ = self.ph.regWriteTxRx(self.port, ids[0], 41, 1, [33])
        before = self.read(ids[0], 41, 1)[0]
        acted = self.ph.action(self.port, ids[0])
        return {
            "reg_write": result,
            "before_action": before,
            "action": acted,
            "after_action": self.read(ids[0], 41, 1)[0],
        }


def word(value):
    return [value & 0xFF, value >> 8]


def drive(client, ids, base):
    """The same exercise for every client; `base` makes what they write differ."""
    out = {
        "pings": [client.ping(sid) for sid in ids],
        "absent": client.ping(ABSENT),
        "memory": {sid: client.read(sid, 0, 87) for sid in ids},
        "bytes": [client.read(ids[0], addr, 1)[0] for addr in range(87)],
        "sync_position": client.sync_read(ids, 56, 2),
    }
    goals = [word(base + 10 * i) for i in range(len(ids))]
    client.sync_write(ids, 42, goals)
    out["goals"] = client.sync_read(ids, 42, 2)
    out["goal_echo"] = [client.read(sid, 71, 2) for sid in ids]
    client.write(ids[-1], 55, [0])
    client.write(ids[-1], 21, [base % 100])
    client.write(ids[-1], 31, word((base % 1000) | 1 << 11))
    client.write(ids[-1], 55, [1])
    out["eeprom"] = client.read(ids[-1], 21, 12)
    client.write(ids[0], 56, word(1))
    out["read_only_kept"] = client.read(ids[0], 3, 2)
    for sid in ids:
        client.write(sid, 40, [1])
    # The last servo's homing offset changed, so its goal is elsewhere; the others must arrive.
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        here = [d[0] | d[1] << 8 for d in client.sync_read(ids[:-1], 56, 2)]
        if all(abs(h - base - 10 * i) <= 3 for i, h in enumerate(here)):
            break
        time.sleep(0.02)
    out["arrived"] = here
    for sid in ids:
        client.write(sid, 40, [0])
    out["extras"] = client.extras(ids)
    return out


def main():
    port, ids = sys.argv[1], [int(a) for a in sys.argv[2:]]
    report = {}
    for name, kind, base in (("rustypot", Rustypot, 1500), ("scservo_sdk", FeetechSdk, 2500)):
        client = kind(port)
        try:
            report[name] = drive(client, ids, base)
        finally:
            client.close()
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
