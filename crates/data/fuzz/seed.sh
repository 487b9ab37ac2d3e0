#!/bin/sh
# Fills corpus/ with the sound files that the tests have, for the fuzzer to begin from.
cd "$(dirname "$0")" || exit 1
golden=../tests/golden
take() { mkdir -p "corpus/$1" && shift_to="corpus/$1" && shift && cp "$@" "$shift_to"; }
take npy "$golden"/recordings/*.npy
take npz "$golden"/recordings/*.npz
take csv "$golden"/recordings/*.csv
take nwb "$golden"/recordings/*.nwb
take matlab "$golden"/recordings/*.mat
take hdf5 "$golden"/recordings/*.h5
take benchmark "$golden"/*.h5
mkdir -p corpus/suite2p
i=0
for name in F Fneu iscell ops; do
    { printf "\\00$i"; cat "$golden/recordings/suite2p/plane0/$name.npy"; } > "corpus/suite2p/$name"
    i=$((i + 1))
done
