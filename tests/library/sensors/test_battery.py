"""Batteries as laptops, phones and boards show them, and as broken ones do."""

from __future__ import annotations

import pytest

from adaspring.library.sensors.battery import Battery, BatteryState


def read(machine) -> BatteryState | None:
    return Battery(machine.root).read()


def test_a_machine_without_batteries_and_plugs_says_nothing(machine):
    assert read(machine) is None


def test_a_desktop_is_on_mains_and_has_no_battery(machine):
    machine.supply("AC", type="Mains", online=1)
    assert read(machine) == BatteryState(on_mains=True)
    machine.supply("AC", online=0)
    assert read(machine) == BatteryState()


def test_a_percentage_is_what_is_left(machine):
    machine.battery(capacity=37)
    assert read(machine) == BatteryState(battery_ratio=0.37, on_mains=False)


def test_energy_stands_in_for_a_percentage_and_is_given_in_millijoules(machine):
    machine.battery(energy_now=12_000_000, energy_full=48_000_000)
    # 12 Wh are 43,200 J
    assert read(machine) == BatteryState(
        battery_ratio=0.25, on_mains=False, battery_energy_mj=pytest.approx(43_200_000)
    )


def test_charge_is_energy_where_the_voltage_is_known(machine):
    machine.battery(charge_now=1_000_000, charge_full=2_000_000)
    assert read(machine) == BatteryState(battery_ratio=0.5, on_mains=False)
    machine.battery(voltage_now=3_700_000)
    # 1 Ah at 3.7 V are 13,320 J
    assert read(machine).battery_energy_mj == pytest.approx(13_320_000)


def test_two_batteries_weigh_as_much_as_they_hold(machine):
    machine.battery("BAT0", energy_now=10_000_000, energy_full=10_000_000)
    machine.battery("BAT1", energy_now=0, energy_full=40_000_000, status="Unknown")
    found = read(machine)
    assert found.battery_ratio == pytest.approx(0.2)
    assert found.battery_energy_mj == pytest.approx(36_000_000)


def test_batteries_that_do_not_say_what_they_hold_weigh_the_same(machine):
    machine.battery("BAT0", capacity=90)
    machine.battery("BAT1", energy_now=10, energy_full=100)
    assert read(machine) == BatteryState(battery_ratio=pytest.approx(0.5), on_mains=False)


@pytest.mark.parametrize("capacity", [250, 101, -5, "", "full", b"\xff\xfe", "5e1", "50 %"])
def test_a_percentage_that_cannot_be_is_none_whatever_else_is_said(machine, capacity):
    machine.battery(capacity=capacity, energy_now=5, energy_full=10)
    assert read(machine) == BatteryState(on_mains=False)


@pytest.mark.parametrize(
    ("now", "full"), [(-1, 10), (5, 0), (5, -5), (12, 10), ("", 10), (5, "x"), (5, 10**13)]
)
def test_an_energy_that_cannot_be_is_none(machine, now, full):
    machine.battery(energy_now=now, energy_full=full)
    assert read(machine) == BatteryState(on_mains=False)
    machine.battery(capacity=60)
    assert read(machine) == BatteryState(battery_ratio=0.6, on_mains=False)


def test_a_new_battery_that_holds_a_little_more_than_full_is_full(machine):
    machine.battery(energy_now=104, energy_full=100)
    assert read(machine).battery_ratio == 1.0


def test_where_one_of_two_batteries_says_nonsense_the_whole_is_not_known(machine):
    machine.battery("BAT0", capacity=50)
    machine.battery("BAT1", capacity=250)
    assert read(machine) == BatteryState(on_mains=False)


def test_a_mouse_and_an_empty_bay_do_not_count(machine):
    machine.battery("hidpp_battery_0", capacity=5, scope="Device")
    assert read(machine) is None
    machine.battery("BAT0", capacity=80)
    machine.battery("BAT1", capacity=0, present=0)
    assert read(machine).battery_ratio == 0.8


@pytest.mark.parametrize(
    ("status", "plug", "on_mains"),
    [
        ("Discharging", None, False),
        ("Discharging", 1, False),  # a charger that is too weak
        ("Charging", None, True),
        ("Charging", 0, True),
        ("Full", 1, True),
        ("Full", 0, False),
        ("Full", None, True),
        ("Not charging", 1, True),
        ("Unknown", 1, True),
        ("Unknown", 2, True),  # programmable USB power
        ("Unknown", 0, False),
        ("Unknown", None, None),
        ("", None, None),
        ("garbage", 99, None),
    ],
)
@pytest.mark.parametrize("kind", ["Mains", "USB", "USB_PD", "Wireless"])
def test_whether_it_is_plugged_in(machine, kind, status, plug, on_mains):
    machine.battery(capacity=50, status=status)
    if plug is not None:
        machine.supply("AC", type=kind, online=plug)
    assert read(machine) == BatteryState(battery_ratio=0.5, on_mains=on_mains)


def test_an_uninterruptible_supply_is_a_battery(machine):
    machine.battery("ups", type="UPS", capacity=70)
    assert read(machine) == BatteryState(battery_ratio=0.7, on_mains=False)
