//! Policy files, prices, exact money and budget arithmetic. Pure: no I/O, no clock, no async.
